"""What the pages show, and what their buttons do."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis

from resqpy.base import codec, job_records
from resqpy.base.errors import StoreError
from resqpy.store import failures
from resqpy.store.connection.options import RedisOptions
from resqpy.tracked.verbs import Tracked
from resqpy.web.app import Console, ConsoleOptions
from tests.web import hostile
from tests.web.conftest import Browser, MakeConsole, as_role

QUEUE = "resque:queue:mail"
JOB = b'{"class":"Send", "queue":"mail","args":[{"to":"ada","n":1.0,"password":"canary-1"}]}'


def entry(number: int, exception: str = "SmtpError", job: bytes = JOB) -> bytes:
    """A failed entry whose bytes no encoder of ours would make."""
    return (
        b'{"failed_at" : "2026-11-21T00:00:%02dZ", "payload": %s, "exception": "%s", "error": "no %d", '
        b'"backtrace": ["a.py:1"], "worker": "w", "queue": "mail"}'
    ) % (number % 60, job, exception.encode(), number)


@pytest.fixture
async def ann(make_console: MakeConsole) -> AsyncIterator[Browser]:
    """An operator."""
    async with Browser(make_console(authenticate=as_role("operator"))) as browser:
        yield browser


def words(page: str) -> str:
    """What a reader sees of the main part."""
    main = page[page.index("<main") : page.index("</main>")]
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", main)).strip()


def forms(page: str, ending: str) -> list[tuple[str, dict[str, str]]]:
    """The forms whose action ends so, with their fields."""
    found = re.findall(r'<form method="post" action="([^"]+)"[^>]*>(.*?)</form>', page, re.DOTALL)
    return [
        (action, dict(re.findall(r'name="([^"]+)" value="([^"]*)"', inner)))
        for action, inner in found
        if action.endswith(ending)
    ]


async def audit(redis: Redis) -> list[dict[str, Any]]:
    """The audit, the oldest first."""
    found: Any = await redis.xrange("resque:resqpy:audit")
    return [{k.decode(): v.decode() for k, v in fields.items()} for _, fields in found]


async def test_the_overview(ann: Browser, redis: Redis) -> None:
    """Numbers, the longest queues, who leads, what is wrong."""
    await redis.sadd("resque:queues", "mail", "idle")
    await redis.rpush(QUEUE, *[JOB] * 1234)
    await redis.rpush("resque:failed", entry(1), entry(2))
    await redis.incrby("resque:stat:processed", 5000)

    seen = words((await ann.get("/")).text)

    assert "Waiting 1,234 in 2 queues" in seen
    assert "Failed 2 0 ever" in seen
    assert "Processed 5,000" in seen
    assert "mail 1,234 ? – 0 no worker" in seen
    assert "unworked queue" in seen  # by the checks of `resqpy doctor`
    for path in ("/queues", "/failed", "/schedules", "/workers"):  # each has a form to filter by
        assert 'name="q" type="search"' in (await ann.get(path)).text


async def test_waiting_jobs(ann: Browser, redis: Redis) -> None:
    """A page of them; one is removed by its bytes although others were taken meanwhile."""
    await redis.sadd("resque:queues", "mail")
    jobs = [
        json.dumps({"class": "Send", "queue": "mail", "args": [n]}).encode() for n in range(120)
    ]
    await redis.rpush(QUEUE, *jobs)
    page = (await ann.get("/queues/mail?from=50")).text
    assert "51–100 of 120" in page
    action, fields = forms(page, "/remove")[2]  # the 53rd
    await redis.lpop(QUEUE, 7)

    answer = await ann.post(action, data=fields)

    assert answer.headers["location"] == "/queues/mail?from=50&done=removed&n=1"
    assert await redis.lrange(QUEUE, 0, -1) == jobs[7:52] + jobs[53:]
    assert "1 entry was removed" in (await ann.get(answer.headers["location"])).text
    again = await ann.post(action, data=fields)
    assert again.headers["location"] == "/queues/mail?from=50&done=gone&n=1"


async def test_pause_and_resume(ann: Browser, redis: Redis) -> None:
    """With a reason that others see, and who did it."""
    await redis.sadd("resque:queues", "mail")
    await ann.post("/queues/mail/pause", data={"reason": "smtp is down"})
    note = json.loads(await redis.get("resque:pause:queue:mail") or b"")
    assert (note["by"], note["reason"]) == ("ann", "smtp is down")
    assert "smtp is down" in (await ann.get("/queues/mail")).text
    await ann.post("/queues/mail/resume", data={})
    assert await redis.exists("resque:pause:queue:mail") == 0
    await ann.post("/workers/pause", data={})
    assert await redis.get("resque:pause-all-workers") == b"true"
    await ann.post("/workers/resume", data={})
    assert await redis.exists("resque:pause-all-workers") == 0

    told = [(each["who"], each["verb"], each["what"]) for each in await audit(redis)]

    assert told == [
        ("ann", "pause", "queue mail"), ("ann", "resume", "queue mail"),
        ("ann", "pause", "all workers"), ("ann", "resume", "all workers"),
    ]  # fmt: skip


async def test_a_queue_is_deleted_with_the_number_that_was_confirmed(
    make_console: MakeConsole, redis: Redis
) -> None:
    """By an admin; not if there are more jobs meanwhile."""
    await redis.sadd("resque:queues", "mail")
    await redis.rpush(QUEUE, JOB, JOB)
    async with Browser(make_console(authenticate=as_role("admin"))) as admin:
        [(action, fields)] = forms((await admin.get("/queues/mail/delete")).text, "/delete")
        assert fields == {"expected": "2"}
        assert (await admin.post(action, data={**fields, "typed": "3"})).status_code == 400
        await redis.rpush(QUEUE, JOB)
        assert (await admin.post(action, data={**fields, "typed": "2"})).status_code == 409
        assert await redis.llen(QUEUE) == 3
        await redis.lpop(QUEUE)
        answer = await admin.post(action, data={**fields, "typed": "2"})
        assert answer.headers["location"] == "/queues?done=deleted&n=2"
        assert await redis.exists(QUEUE) == 0


# -- failed jobs --


async def test_failed_groups(ann: Browser, redis: Redis) -> None:
    """By task and exception, the largest first."""
    await redis.rpush("resque:failed", *[entry(n) for n in range(3)], entry(9, "Timeout"), b"{")

    seen = words((await ann.get("/failed")).text)

    assert "3 groups of 5 failed jobs" in seen
    assert re.search(r"3 Send SmtpError no 2 .* Entries Retry… Remove…", seen)
    assert "SmtpError" not in words((await ann.get("/failed?q=timeout")).text)


async def test_failed_entries_page_by_page(ann: Browser, redis: Redis) -> None:
    """Newest first; the place is kept although entries leave and others come."""
    entries = [entry(n) for n in range(120)]
    await redis.rpush("resque:failed", *entries)
    seen = list[str]()
    path: str | None = "/failed/entries"
    while path:
        page = (await ann.get(path)).text
        seen += [fields["at"] for _, fields in forms(page, "/retry")]
        errors = re.findall(r">no (\d+)<", page)
        links = re.findall(r'href="([^"]+)">older', page)
        path = links[0].replace("&amp;", "&") if links else None
        assert len(errors) == len(set(errors))
        if len(seen) == 50:
            assert errors == [str(n) for n in range(119, 69, -1)]
            await redis.lpop("resque:failed", 20)
            await redis.rpush("resque:failed", *[entry(n) for n in range(200, 220)])
        if len(seen) == 100:
            assert errors == [str(n) for n in range(69, 19, -1)]

    assert len(seen) == 100


async def test_failed_entries_by_filter(ann: Browser, redis: Redis) -> None:
    """A filter looks at a bounded part of the list, says so, and goes on."""
    await redis.rpush("resque:failed", entry(7, "Rare"), *[entry(n) for n in range(10_050)])

    page = (await ann.get("/failed/entries?exception=Rare")).text

    assert "0 found in 5,000 of 10,051 entries" in words(page)
    [link] = re.findall(r'href="([^"]+)">search on', page)
    rest = (await ann.get(link.replace("&amp;", "&"))).text
    assert "0 found in 5,000 of 10,051 entries" in words(rest)
    [link] = re.findall(r'href="([^"]+)">search on', rest)
    rest = words((await ann.get(link.replace("&amp;", "&"))).text)
    assert "1 found in 51 of 10,051 entries" in rest
    for verb in ("retry", "remove"):  # of all that match, on whatever page they are
        [link] = re.findall(rf'href="(/failed/bulk\?verb={verb}[^"]*)"', page)
        asked = words((await ann.get(link.replace("&amp;", "&"))).text)
        assert f"{verb.capitalize()} 1 failed job?" in asked
    assert "/failed/bulk" not in (await ann.get("/failed/entries")).text


async def test_an_entry(ann: Browser, make_console: MakeConsole, redis: Redis) -> None:
    """An operator sees its arguments, without secrets; a viewer none."""
    raw = entry(1)
    await redis.rpush("resque:failed", raw)
    path = f"/failed/entries/{codec.digest(raw)}"

    page = (await ann.get(path)).text

    assert "&#34;to&#34;: &#34;ada&#34;" in page
    assert "canary-1" not in page
    assert "a.py:1" in page
    async with Browser(make_console(authenticate=as_role("viewer"))) as viewer:
        seen = (await viewer.get(path)).text
        assert "ada" not in seen
        assert "a.py:1" in seen
        assert "<form" not in seen[seen.index("<main") :]
    assert (await ann.get("/failed/entries/" + "0" * 40)).status_code == 404


async def test_retry_the_right_one(ann: Browser, redis: Redis) -> None:
    """The third row, while others come and go: exactly that job, once, with its bytes."""
    entries = [entry(n) for n in range(30)]
    await redis.rpush("resque:failed", *entries)
    action, fields = forms((await ann.get("/failed/entries")).text, "/retry")[2]
    await redis.lpop("resque:failed", 10)
    await redis.rpush("resque:failed", *[entry(n) for n in range(50, 60)])

    answers = [await ann.post(action, data=fields) for _ in range(2)]

    assert answers[0].headers["location"].startswith("/failed/entries?")
    assert answers[1].status_code == 404
    assert await redis.lrange(QUEUE, 0, -1) == [JOB]
    left = await redis.lrange("resque:failed", 0, -1)
    assert left == [*entries[10:27], *entries[28:], *[entry(n) for n in range(50, 60)]]
    [told] = [each for each in await audit(redis) if each["verb"] == "retry"]
    assert json.loads(told["more"]) == {"count": 1, "task": "Send"}


async def test_remove_and_undo(ann: Browser, redis: Redis) -> None:
    """For a day, an entry that was removed can be put back, once."""
    entries = [entry(n) for n in range(3)]
    await redis.rpush("resque:failed", *entries)
    action, fields = forms((await ann.get("/failed/entries")).text, "/remove")[1]

    answer = await ann.post(action, data=fields)

    assert await redis.lrange("resque:failed", 0, -1) == [entries[0], entries[2]]
    [kept] = await redis.keys("resque:resqpy:web:removed:*")
    assert 0 < await redis.ttl(kept) <= 24 * 3600
    [(undo, _)] = [
        each for each in forms((await ann.get(answer.headers["location"])).text, "")
        if "/undo/" in each[0]
    ]  # fmt: skip
    assert (await ann.post(undo, data={})).headers["location"] == "/failed?done=restored&n=1"
    assert await redis.lrange("resque:failed", 0, -1) == [entries[0], entries[2], entries[1]]
    assert (await ann.post(undo, data={})).headers["location"] == "/failed?done=gone&n=0"


async def test_a_group_is_retried_as_confirmed(ann: Browser, redis: Redis) -> None:
    """With the exact bytes of each job; others are left alone."""
    await redis.rpush("resque:failed", *[entry(n) for n in range(5)], entry(1, "Other"))
    page = (await ann.get("/failed/bulk?verb=retry&class=Send&exception=SmtpError")).text
    assert "Retry 5 failed jobs?" in words(page)
    [(action, fields)] = forms(page, "/failed/bulk")

    answer = await ann.post(action, data=fields)

    assert answer.headers["location"] == "/failed?done=retried&n=5"
    assert await redis.lrange(QUEUE, 0, -1) == [JOB] * 5
    assert await redis.lrange("resque:failed", 0, -1) == [entry(1, "Other")]


async def test_a_large_group_is_confirmed_by_its_number(ann: Browser, redis: Redis) -> None:
    """And a removal can be undone, in the order of before."""
    entries = [entry(n) for n in range(1500)]
    await redis.rpush("resque:failed", *entries)
    page = (await ann.get("/failed/bulk?verb=remove&class=Send")).text
    [(action, fields)] = forms(page, "/failed/bulk")
    assert (await ann.post(action, data=fields)).status_code == 400
    assert await redis.llen("resque:failed") == 1500

    answer = await ann.post(action, data={**fields, "typed": "1,500"})

    assert await redis.llen("resque:failed") == 0
    undo = re.findall(r"undo=([\w-]+)", answer.headers["location"])[0]
    await ann.post(f"/failed/undo/{undo}", data={})
    assert await redis.lrange("resque:failed", 0, -1) == entries


class Killed(BaseException):
    """Nothing of ours catches it, and nothing is done after it."""


def then(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Removals and retries are written, and then this is raised."""
    real = failures.settle

    async def settle(*given: Any, **more: Any) -> None:
        await real(*given, **more)
        raise error

    monkeypatch.setattr(failures, "settle", settle)


async def test_a_removal_whose_process_died_can_be_undone(
    make_console: MakeConsole, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Right after its write: what is needed for it, and the note with the button, are in that write."""
    await redis.rpush("resque:failed", entry(1), entry(2))
    dying = make_console(authenticate=as_role("operator"))
    async with Browser(dying) as ann:
        action, fields = forms((await ann.get("/failed/entries")).text, "/remove")[1]
        then(monkeypatch, Killed())
        with pytest.raises(Killed):
            await ann.post(action, data=fields)
    assert await redis.lrange("resque:failed", 0, -1) == [entry(2)]
    async with Browser(make_console(authenticate=as_role("admin"))) as admin:
        assert "remove failed job" in words((await admin.get("/audit")).text)
        [(undo, _)] = forms((await admin.get("/audit")).text, "")
        await admin.post(undo, data={})
    assert await redis.lrange("resque:failed", 0, -1) == [entry(2), entry(1)]
    assert [each["verb"] for each in await audit(redis)] == ["remove", "undo"]


async def test_a_removal_that_broke_off_can_be_undone(
    make_console: MakeConsole, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As far as it came: the audit has the button."""
    then(monkeypatch, StoreError("ERR too late"))
    await redis.rpush("resque:failed", entry(1), entry(2))
    async with Browser(make_console(authenticate=as_role("admin"))) as admin:
        given = {"verb": "remove", "class": "Send", "expected": "2"}
        run = (await admin.post("/failed/bulk", data=given)).headers["location"]
        assert "It broke off: ERR too late" in words((await admin.get(run)).text)
        assert await redis.llen("resque:failed") == 0
        [(undo, _)] = forms((await admin.get("/audit")).text, "")
        await admin.post(undo, data={})
    assert await redis.lrange("resque:failed", 0, -1) == [entry(1), entry(2)]


async def test_a_removal_keeps_what_stands_apart(ann: Browser, redis: Redis) -> None:
    """The bytes of a large unreadable job, which its entry only names: as long as the entry can be put back."""
    apart = "resque:resqpy:unreadable:abc"
    named = json.dumps({"class": "resqpy.unreadable", "args": [{"kept": "abc"}]}).encode()
    raw = entry(1, job=named)
    assert job_records.decode_failed(raw).unreadable == "abc"
    await redis.rpush("resque:failed", raw)
    await redis.set(apart, b"\xff")
    [(action, fields)] = forms((await ann.get("/failed/entries")).text, "/remove")
    answer = await ann.post(action, data=fields)
    assert await redis.ttl(apart) > 24 * 3600
    undo = re.findall(r"undo=([\w-]+)", answer.headers["location"])[0]
    await ann.post(f"/failed/undo/{undo}", data={})
    assert await redis.lrange("resque:failed", 0, -1) == [raw]
    assert await redis.ttl(apart) == -1


async def test_all_entries_are_no_group(ann: Browser, redis: Redis) -> None:
    """A group has a task, an exception or a queue."""
    assert (await ann.get("/failed/bulk?verb=remove")).status_code == 400
    assert (await ann.get("/failed/bulk?verb=eat&class=x")).status_code == 400


# -- what waits for its time, what runs by itself, tracked tasks, workers --


async def test_delayed_jobs(ann: Browser, redis: Redis) -> None:
    """One runs now, one is removed: by their bytes."""
    other = JOB.replace(b"ada", b"bob")
    second = 4_000_000_000
    await redis.zadd("resque:delayed_queue_schedule", {str(second): second})
    await redis.rpush(f"resque:delayed:{second}", JOB, other)
    page = (await ann.get("/delayed")).text
    assert "due at 1 time" in words(page)

    action, fields = forms(page, "/run")[0]
    await ann.post(action, data=fields)
    assert await redis.lrange(QUEUE, 0, -1) == [JOB]
    page = (await ann.get(f"/delayed/{second}")).text
    assert "1 job at 2096-10-02 07:06:40 UTC" in words(page)
    action, fields = forms(page, "/remove")[0]
    answer = await ann.post(action, data=fields)
    assert answer.headers["location"] == "/delayed?done=removed&n=1"
    assert await redis.exists(f"resque:delayed:{second}", "resque:delayed_queue_schedule") == 0


async def test_a_time_that_is_no_number_hides_no_page(ann: Browser, redis: Redis) -> None:
    """Delayed jobs go on after it."""
    await redis.zadd("resque:delayed_queue_schedule", {"junk": 4_000_000_000})
    for second in range(4_000_000_000, 4_000_000_060):
        await redis.zadd("resque:delayed_queue_schedule", {str(second): second})
        await redis.rpush(f"resque:delayed:{second}", JOB)
    seen = 0
    path = "/delayed"
    while path:
        page = (await ann.get(path)).text
        seen += len(forms(page, "/run"))
        path = "".join(re.findall(r'href="([^"]+)">later', page))
    assert seen == 60


async def test_schedules(ann: Browser, redis: Redis) -> None:
    """A schedule of Ruby's runs now, and is paused."""
    schedule = {"class": "Report", "queue": "reports", "every": "1h"}
    await redis.hset("resque:persistent_schedules", "hourly", json.dumps(schedule))
    nightly = {"class": "Report", "queue": "reports", "cron": "0 3 * * mon-fri Europe/Berlin"}
    await redis.hset("resque:persistent_schedules", "nightly", json.dumps(nightly))
    page = (await ann.get("/schedules")).text
    assert "hourly Report" in words(page)
    assert "0 3 * * mon-fri Europe/Berlin at 03:00, Monday to Friday" in words(page)

    answer = await ann.post("/schedules/hourly/run", data={})
    assert answer.headers["location"] == "/schedules?done=enqueued&n=1"
    assert await redis.llen("resque:queue:reports") == 1
    await ann.post("/schedules/hourly/pause", data={})
    assert await redis.smembers("resque:resqpy:ruby:paused") == {b"hourly"}
    await ann.post("/schedules/hourly/resume", data={})
    assert await redis.smembers("resque:resqpy:ruby:paused") == set()
    assert (await ann.post("/schedules/nothing/run", data={})).status_code == 404


async def test_tracked_tasks(console: Console, ann: Browser) -> None:
    """A list with filters, one with its history, and what its status allows."""
    await console.open()
    tracked = Tracked(console.resque.store)
    one = await tracked.create("Send", {"to": "ada"}, delay=3_600_000, tags=["x"])
    await tracked.create("Other", {"to": "bob"})
    assert one is not None

    seen = words((await ann.get("/tasks")).text)
    assert "2 tasks, newest first" in seen
    assert "Other" not in words((await ann.get("/tasks?type=Send&status=scheduled&tag=x")).text)
    page = (await ann.get(f"/tasks/{one.id}")).text
    assert "Send scheduled" in words(page)
    assert (await ann.post(f"/tasks/{one.id}/cancel", data={})).status_code == 303
    assert "Send cancelled" in words((await ann.get(f"/tasks/{one.id}")).text)
    assert (await ann.post(f"/tasks/{one.id}/cancel", data={})).status_code == 409
    assert (await ann.post(f"/tasks/{one.id}/eat", data={})).status_code == 404
    assert (
        (await ann.post(f"/tasks/{one.id}/remove", data={}))
        .headers["location"]
        .startswith("/tasks?")
    )
    assert (await ann.get(f"/tasks/{one.id}")).status_code == 404


async def test_workers(ann: Browser, redis: Redis) -> None:
    """A silent one can be removed, one that is alive can't; its job goes to the failed list."""
    dead, alive = "host:1:mail", "host:2:*"
    await redis.sadd("resque:workers", dead, alive)
    await redis.hset("resque:workers:heartbeat", dead, "2020-01-01T00:00:00+00:00")
    await redis.hset("resque:workers:heartbeat", alive, "2090-01-01T00:00:00+00:00")
    record = b'{"queue":"mail","run_at":"2020-01-01T00:00:00Z","payload":' + JOB + b"}"
    await redis.set(f"resque:worker:{dead}", record)
    page = (await ann.get("/workers")).text
    assert "2 workers, 1 at work" in words(page)
    [(action, fields)] = forms(page, "/remove")

    answer = await ann.post(action, data=fields)

    assert answer.headers["location"] == "/workers?done=cleaned&n=1"
    assert await redis.smembers("resque:workers") == {alive.encode()}
    assert await redis.llen("resque:failed") == 1
    refused = await ann.post(action.replace("host:1:mail", "x"), data={})
    assert refused.status_code in (303, 404)


async def test_the_audit_is_for_admins(
    make_console: MakeConsole, ann: Browser, redis: Redis
) -> None:
    """It says who, what, and how it went; page by page."""
    for number in range(60):
        await ann.post(f"/queues/q{number}/pause", data={"reason": ""})
    async with Browser(make_console(authenticate=as_role("admin"))) as admin:
        page = (await admin.get("/audit")).text
        assert "ann operator application" in words(page)
        assert "pause queue q59" in words(page)
        [older] = re.findall(r'href="([^"]+)">older', page)
        assert "pause queue q0 " in words((await admin.get(older)).text)
    assert (await ann.get("/audit")).status_code == 403


async def test_redis_away() -> None:
    """Each page says so, with what to do, and comes back by itself."""
    options = ConsoleOptions(authenticate=as_role("admin"))
    away = Console(lambda: RedisOptions("unix:///nowhere/redis.sock"), options)
    async with Browser(away) as browser:
        for path in (
            "/",
            "/queues",
            "/failed",
            "/failed/entries",
            "/delayed",
            "/tasks",
            "/workers",
        ):
            answer = await browser.get(path)
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
            assert "Redis can&#39;t be reached" in answer.text
            assert answer.headers["refresh"] == "5"
        changed = await browser.post("/queues/mail/pause", data={"reason": ""})
        assert (changed.status_code, "refresh" in changed.headers) == (503, False)
        assert (await browser.get("/healthz")).status_code == 200
    await away.close()


async def test_a_page_refreshes_itself(ann: Browser) -> None:
    """If asked to, without JavaScript; its filter stays."""
    page = await ann.get("/queues?q=mail&path=x")
    assert "refresh" not in page.headers
    [link] = re.findall(r'href="([^"]+)">Refresh every 10 s', page.text)
    again = await ann.get(link.replace("&amp;", "&"))
    assert again.headers["refresh"] == "10"
    assert 'href="/queues?q=mail">Stop refreshing' in again.text
    assert "refresh" not in (await ann.get("/queues?refresh=1")).headers


# How many are merged depends on what runs at the same time; none depends on how much there is.
ROUND_TRIPS = {
    "/": 13, "/queues": 9, "/queues/mail": 3, "/failed/entries": 4, "/delayed": 3, "/schedules": 3, "/tasks": 6,
    "/workers": 8,
}  # fmt: skip


@pytest.mark.parametrize("number", [1, 300])
async def test_round_trips(make_console: MakeConsole, redis: Redis, number: int) -> None:
    """As many for much as for little."""
    pipe = redis.pipeline()
    for n in range(number):
        pipe.sadd("resque:queues", f"q{n}", "mail")
        pipe.rpush(f"resque:queue:q{n}", JOB)
        pipe.rpush(QUEUE, JOB)
        pipe.rpush("resque:failed", entry(n))
        pipe.sadd("resque:workers", f"host:{n}:mail")
        pipe.zadd("resque:delayed_queue_schedule", {str(4_000_000_000 + n): 4_000_000_000 + n})
        pipe.rpush(f"resque:delayed:{4_000_000_000 + n}", JOB)
    await pipe.execute()
    console = make_console(authenticate=as_role("admin"))
    async with Browser(console) as browser:
        await browser.get("/")
        await console.problems.get(60)
        console.problems._until_s = float("inf")  # the checks are not counted
        for path, most in ROUND_TRIPS.items():
            line = console.resque.store.line
            before = line.round_trips
            answer = await browser.get(path)
            assert answer.status_code == 200
            assert line.round_trips - before <= most, path
            assert len(answer.content) < 300_000, path
            assert hostile.read(answer.text).foreign == []


async def test_a_very_large_job_is_not_decoded_for_a_list(ann: Browser, redis: Redis) -> None:
    """It says how large it is, and can be handled; others stand beside it."""
    large = b'{"class":"Large","args":[{"text":"' + b"x" * 2**20 + b'"}],"queue":"mail"}'
    raw = (
        b'{"failed_at":"2026-11-21T00:00:00Z","payload":%s,"exception":"Bo\\"om","error":"e","worker":"h:1:mail",'
        b'"queue":"mail","backtrace":[]}' % large
    )
    await redis.sadd("resque:queues", "mail")
    await redis.rpush(QUEUE, JOB, large)
    await redis.rpush("resque:failed", raw, entry(1))
    await redis.zadd("resque:delayed_queue_schedule", {"4000000000": 4_000_000_000})
    await redis.rpush("resque:delayed:4000000000", large)
    for path in ("/queues/mail", "/failed/entries", "/delayed", "/delayed/4000000000"):
        said = words((await ann.get(path)).text)
        assert "Large" in said, path
        assert "it has 1.0 MiB, too much for a list" in said, path
        assert "xxx" not in said, path
    page = (await ann.get("/failed/entries")).text
    assert "Bo&#34;om" in words(page)
    assert "1.0 MiB" in words((await ann.get("/failed")).text)
    assert "xxx" in (await ann.get(f"/failed/entries/{codec.digest(raw)}?at=0")).text
    action, fields = forms((await ann.get("/delayed")).text, "/run")[0]
    await ann.post(action, data=fields)
    assert await redis.lrange(QUEUE, 0, -1) == [JOB, large, large]
    action, fields = forms((await ann.get("/queues/mail")).text, "/remove")[1]
    await ann.post(action, data=fields)
    assert await redis.llen(QUEUE) == 2


async def test_what_is_due_in_the_next_time(ann: Browser, redis: Redis) -> None:
    """As a chart with a table behind it, for an hour, a day or a week."""
    now_s, _ = await redis.time()
    for second in (now_s + 600, now_s + 601, now_s + 7200, now_s + 4 * 86_400):
        await redis.zadd("resque:delayed_queue_schedule", {str(second): second})
        await redis.rpush(f"resque:delayed:{second}", JOB)
    sums = []
    for ahead in ("1h", "24h", "7d"):
        page = (await ann.get(f"/delayed?ahead={ahead}")).text
        behind = page.split("<summary>The chart as a table</summary>")[1].split("</table>")[0]
        counts = [int(each) for each in re.findall(r'data-label="Times">(\d+)<', behind)]
        assert page.count('<rect class="ok"') == len(counts)
        sums.append(sum(counts))
        for link in re.findall(r'href="(/delayed\?from=\d+)"', behind):
            assert (await ann.get(link)).status_code == 200
    assert sums == [2, 3, 4]
    later = (await ann.get(f"/delayed?from={now_s + 3600}")).text
    assert "<svg" not in later
    wrong = await ann.get("/delayed?ahead=24")
    assert (wrong.status_code, "24h" in wrong.text) == (400, True)
    await redis.flushdb()
    assert "<svg" not in (await ann.get("/delayed")).text


async def test_how_many_workers_take_the_jobs_of_a_queue(ann: Browser, redis: Redis) -> None:
    """Whatever else is in their lists, and however these are written."""
    lists = [
        "mail",
        "mail,x1",
        "x2,mail",
        "x3",
        "*",
        "m*",
        "mail=3,x4",
        "*,!mail",
        "mail^5,x5",
        "a,b",
    ]
    await redis.sadd("resque:workers", *[f"host:{n}:{each}" for n, each in enumerate(lists)])
    await redis.sadd("resque:queues", "mail", "mail^5", "other")
    seen = words((await ann.get("/queues")).text)
    assert "mail 0 – – 6 running" in seen
    assert "mail^5 0 – – 7 running" in seen
    assert "other 0 – – 2 running" in seen


async def test_a_job_is_looked_for_in_a_queue(
    ann: Browser, make_console: MakeConsole, redis: Redis
) -> None:
    """By a part of its task's name and of its arguments; it says how far it looked, and goes on from there."""
    jobs = [
        json.dumps({"class": f"Task{n % 3}", "args": [{"to": f"ada-{n}", "password": "canary-1"}]})
        for n in range(12_000)
    ]
    await redis.sadd("resque:queues", "mail")
    await redis.rpush(QUEUE, *jobs, '{"class":"Other","args":["\\u00fcber \\"x\\""]}', "{")
    for query, found in (
        (
            "q=ada-4321",
            "1 found among 5,000 of 12,002 · search on → # Task Arguments Actions 4,322 Task1",
        ),
        ("class=Other", "0 found among 5,000 of 12,002 · search on → None of these"),
        ("class=Other&from=10000", "1 found among 2,002 of 12,002, from job 10,001 on # Task"),
        ("q=%C3%BCber&from=10000", "1 found among 2,002"),
        ("q=ada-2&class=Task2", "50 found among"),
        ("q=canary-1", "0 found among 5,000"),
    ):
        said = words((await ann.get(f"/queues/mail?{query}")).text)
        assert found in said, (query, said[:400])
    page = (await ann.get("/queues/mail?class=Other")).text
    seen = 1
    while link := re.findall(r'href="([^"]+)">search on', page):
        page = (await ann.get(link[0].replace("&amp;", "&"))).text
        seen += 1
    assert (seen, "1 found" in page) == (3, True)
    action, fields = forms(page, "/remove")[0]
    answer = await ann.post(action, data=fields)
    assert answer.headers["location"] == "/queues/mail?from=10000&class=Other&done=removed&n=1"
    assert await redis.llen(QUEUE) == 12_001
    async with Browser(make_console(authenticate=as_role("viewer"))) as viewer:
        assert "Text in the arguments" not in (await viewer.get("/queues/mail")).text
        assert (await viewer.get("/queues/mail?q=ada-1")).status_code == 403
        assert "50 found" in (await viewer.get("/queues/mail?class=Task1")).text
