"""A Redis full of texts that would break out of a page, and a reader that notices."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from typing import Any

from redis.asyncio import Redis

TEXTS = [
    '"><img src=x onerror=alert(1)>',
    "'onmouseover='alert(1)",
    "</script><script>alert(1)</script>",
    "javascript:alert(1)",
    "{{ 7 * 7 }}{% raw %}",
    "\u202egnp.exe",
    "a\x00b\x1b[31m",
    "../../etc/passwd",
    "//evil.test/",
    "%2f..%2f",
    "x" * 10_000,
    "9" * 5000,  # of so many digits Python makes no number
    "=1,*,!a",
]
NO_TEXT = b"\xff\xfe<b>"
HALF = "\ud800<i>"  # half of a surrogate pair, which JSON can write and UTF-8 can't
NO_JSON = b'{"class": <svg onload=alert(1)>'


async def fill(redis: Redis) -> None:
    """Put each text wherever somebody may write one."""
    for number, text in enumerate(TEXTS):
        job = {"class": text, "queue": text, "args": [{text: text, "password": "canary-1"}, [text]]}
        failed = {
            "payload": job, "queue": text, "worker": text, "exception": text, "error": f"{text}\n{text}",
            "backtrace": [text, text], "failed_at": text, "retried_at": text,
        }  # fmt: skip
        second = 4_000_000_000 + number
        await redis.sadd("resque:queues", text)
        await redis.rpush(f"resque:queue:{text}", json.dumps(job), NO_JSON, NO_TEXT)
        await redis.set(f"resque:pause:queue:{text}", json.dumps({"by": text, "reason": text}))
        await redis.hset("resque:resqpy:limits", text, 3)
        await redis.hset(
            "resque:resqpy:limits", mapping={f"{{limit}}{text}": 3, f"{{task}}{text}": text}
        )
        await redis.set(f"resque:lock:{text}", 4_000_000_000)
        await redis.rpush("resque:failed", json.dumps(failed))
        await redis.sadd("resque:failed_queues", text)
        await redis.rpush(f"resque:{text}", json.dumps(failed))
        await redis.zadd("resque:delayed_queue_schedule", {str(second): second, text: second})
        await redis.rpush(f"resque:delayed:{second}", json.dumps(job), NO_JSON)
        worker = f"{text}:{number}:{text}"
        await redis.sadd("resque:workers", worker)
        await redis.set(
            f"resque:worker:{worker}", json.dumps({"queue": text, "run_at": text, "payload": job})
        )
        await redis.hset("resque:workers:heartbeat", worker, text)
        await redis.hset(
            "resque:persistent_schedules",
            text,
            json.dumps({"class": text, "every": text, "queue": text}),
        )
        await redis.hset(
            "resque:resqpy:periodic:tasks", text, json.dumps({"name": text, "cron": text})
        )
        await redis.hset(
            "resque:resqpy:task:t" + str(number), mapping={"type": text, "payload": text}
        )
        await redis.zadd("resque:resqpy:tasks:by:created", {f"t{number}": number, text: number})
        await history(redis, text)
        await redis.xadd(
            "resque:resqpy:audit",
            dict.fromkeys(("who", "role", "by", "address", "verb", "what", "more"), text),
        )
    run: dict[Any, Any] = dict(zip(("who", "error", "class", "state", "verb"), TEXTS, strict=False))
    going: dict[Any, Any] = {
        **run,
        "verb": "retry",
        "state": "running",
        "until": 9**14,
        "class": "9" * 5000,
    }
    for name, fields in (("0" * 22, run), ("1" * 22, going)):
        await redis.hset(f"resque:resqpy:web:run:{name}", mapping=fields)
        await redis.rpush("resque:resqpy:web:runs", name, TEXTS[0], NO_TEXT)
    half = {"class": HALF, "queue": HALF, "args": [{HALF: HALF}], HALF: HALF}
    failed = dict.fromkeys(("queue", "worker", "exception", "error", "failed_at"), HALF)
    await redis.rpush("resque:failed", json.dumps({**failed, "payload": half, "backtrace": [HALF]}))
    await redis.rpush("resque:queue:half", json.dumps(half))
    await redis.sadd("resque:queues", "half")
    await redis.zadd("resque:delayed_queue_schedule", {"4000000000": 4_000_000_000})
    await redis.rpush("resque:delayed:4000000000", json.dumps(half))
    await redis.sadd("resque:workers", "host:1:half")
    await redis.set("resque:worker:host:1:half", json.dumps({"queue": HALF, "payload": half}))
    await redis.hset("resque:persistent_schedules", "half", json.dumps({**half, "every": HALF}))
    await redis.rpush("resque:failed", NO_JSON, NO_TEXT, b"[1]", b"null")
    await redis.set("resque:resque_scheduler_leader_lock", TEXTS[0])
    await redis.sadd("resque:workers", NO_TEXT, b"", b"a")
    await redis.sadd("resque:queues", NO_TEXT, b"")
    await redis.set("resque:queue:no list", TEXTS[0])
    await redis.sadd("resque:queues", "no list")
    await redis.hset("resque:persistent_schedules", "no json", NO_JSON)


async def history(redis: Redis, text: str) -> None:
    """What ran under a name, in the slots of now and of a minute ago; and a mark."""
    seconds, _ = await redis.time()
    for kind in ("tasks", "queues", "sample"):
        for grain, step in (("1m", 60), ("10m", 600), ("1h", 3600)):
            for at in (seconds - 60, seconds):
                key = f"resque:resqpy:history:{kind}:{grain}:{at - at % step}"
                await redis.hset(
                    key, mapping={text: "5,2,1,1,900,1,9,1,3,1", "": "9,9", "half": text}
                )
    await redis.xadd("resque:resqpy:history:marks", {"text": text, "by": text})


# What our templates have.
TAGS = """
    html head meta title link body a header div nav span form button main p footer h1 h2 dl dt dd small section ul
    ol li strong script table thead tbody tr th td time code br pre input label select option
    textarea fieldset legend progress
    figure figcaption svg path rect details summary
"""
ATTRIBUTES = """
    lang charset name content rel type href class id aria-label aria-current method action data-label datetime
    title value for role placeholder colspan autofocus autocomplete required inputmode maxlength
    selected id src defer data-events data-live aria-invalid aria-describedby rows checked max
    viewbox preserveaspectratio d x y width height
"""


class Reader(HTMLParser):
    """Reads a page as a browser does, and notes what none of our templates has."""

    def __init__(self) -> None:
        super().__init__()
        self.foreign: list[str] = []
        self.links: list[str] = []
        self.forms: list[str] = []
        self._fields: set[str] = set()  # of the form that is being read

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element and its attributes."""
        if tag not in TAGS.split():
            self.foreign.append(f"<{tag}>")
        if tag == "script" and "/static/" not in (dict(attrs).get("src") or ""):
            self.foreign.append("<script>")
        self._field(tag, dict(attrs))
        for name, value in attrs:
            if name not in ATTRIBUTES.split():
                self.foreign.append(f"{tag} {name}")
            if name in ("href", "action", "src", "data-events") and value and not _ours(value):
                self.foreign.append(f"{tag} {name}={value}")
            if name == "href" and tag == "a" and value:
                self.links.append(value)
            if name == "action" and value:
                self.forms.append(value)

    def _field(self, tag: str, attrs: dict[str, str | None]) -> None:
        """Of two fields with one name the console reads neither rightly; of radio buttons one is sent."""
        if tag == "form":
            self._fields.clear()
        name = attrs.get("name")
        if tag in ("input", "select", "textarea") and name and attrs.get("type") != "radio":
            if name in self._fields:
                self.foreign.append(f"two fields {name}")
            self._fields.add(name)


def _ours(url: str) -> bool:
    return url.startswith("#") or (url.startswith("/") and not url.startswith("//"))


def read(page: str) -> Reader:
    """A page that has been read."""
    reader = Reader()
    reader.feed(page)
    reader.close()
    return reader


async def dump(redis: Redis) -> dict[bytes | str, Any]:
    """All keys and what they have; members of a set in order, because Redis may move them by itself."""
    kinds = {key: await redis.type(key) for key in await redis.keys("*")}
    return {
        key: sorted(await redis.smembers(key)) if kind == b"set" else await redis.dump(key)
        for key, kind in kinds.items()
    }
