"""The form by which jobs are enqueued: made from a task's declaration, or from a failed job."""

from __future__ import annotations

import html
import json
import re
from collections.abc import AsyncIterator
from datetime import datetime
from enum import Enum
from typing import Any
from urllib.parse import urlencode

import pytest
from redis.asyncio import Redis

from resqpy import Input, task
from resqpy.base import codec
from resqpy.base.activejob import WRAPPER
from resqpy.framework.project.registry import registry_of
from resqpy.store.connection.options import RedisOptions
from resqpy.web.app import Console, ConsoleOptions
from resqpy.web.pages.enqueueing import HiddenValue, unhidden
from tests.web import hostile
from tests.web.conftest import Browser, MakeConsole, as_role
from tests.web.test_api_writes import waiting
from tests.web.test_pages import audit, entry, words


class Speed(Enum):
    """A choice."""

    FAST = "fast"
    SLOW = "slow"


@task(name="mail", queue="mails", inputs={"token": Input(type=str, default="canary-2")})
def send_mail(
    to: str, times: int = 3, speed: Speed = Speed.FAST, *, urgent: bool = False, at: datetime | None = None,
    to_all: list[str] | None = None, token: str = "", options: dict[str, Any] | None = None,
) -> None:  # fmt: skip
    """Send a mail."""


@task(name="by_place")
def by_place(user: int, why: str = "", /) -> None:
    """Take the inputs by position."""


@pytest.fixture
async def ann(make_console: MakeConsole) -> AsyncIterator[Browser]:
    """An operator, of a console that knows two tasks."""
    registry = registry_of(send_mail)
    registry.tasks["by_place"] = registry_of(by_place).tasks["by_place"]
    console = make_console(authenticate=as_role("operator"), registry=registry)
    async with Browser(console) as browser:
        yield browser


def filled(page: str) -> dict[str, str]:
    """What a browser would send if the form were sent as it is shown."""
    assert hostile.read(page).foreign == []
    form = page[page.index('action="/enqueue"') :]
    found = dict[str, str]()
    for tag, inner in re.findall(r"<(input|textarea|select)( [^>]*>)", form):
        name = re.search(r' name="([^"]*)"', inner)
        rest = form[form.index(f"<{tag}{inner}") + len(tag) + 1 + len(inner) :]
        if name is None or ' type="radio"' in inner:
            continue
        if tag == "input":
            value = "".join(re.findall(r' value="([^"]*)"', inner))
        elif tag == "textarea":
            value = rest[: rest.index("</textarea>")].removeprefix("\n")
        else:
            chosen = re.findall(r"<option selected>([^<]*)<", rest[: rest.index("</select>")])
            value = chosen[0] if chosen else ""
        found[name[1]] = html.unescape(value)
    return found


def faults(page: str) -> dict[str, str]:
    """What is said to be wrong, by field."""
    return {
        name: html.unescape(said)
        for name, said in re.findall(r'id="error-([^"]*)">([^<]*)<', page)
    }  # fmt: skip


async def test_the_tasks_of_the_project(ann: Browser, redis: Redis) -> None:
    """Each with its inputs; from the queues' pages, for who may."""
    await redis.sadd("resque:queues", "mails")
    assert 'href="/enqueue"' in (await ann.get("/queues")).text
    assert 'href="/enqueue?queue=mails"' in (await ann.get("/queues/mails")).text
    page = (await ann.get("/enqueue?queue=q")).text
    assert "mail Send a mail. token to* times speed" in words(page)
    assert 'href="/enqueue?task=mail&amp;queue=q"' in page
    assert filled(page)["queue"] == "q"
    assert "by_place" not in (await ann.get("/enqueue?q=mail")).text
    assert (await ann.get("/enqueue?task=nail")).status_code == 404


async def test_the_form_says_what_the_task_takes(ann: Browser) -> None:
    """Types, what is required, defaults; no secret."""
    page = (await ann.get("/enqueue?task=mail")).text
    seen = words(page)
    assert "to * str" in seen
    assert "times int · default 3" in seen
    assert "speed Speed · default &#34;fast&#34;" in seen
    assert "canary-2" not in page
    assert re.search(r'name="input.to" value="" autocomplete="off" required', page)
    assert re.search(r'<select name="input.speed"><option value="">–</option><option>fast<', page)
    assert re.search(r'<textarea name="input.to_all"', page)


async def test_a_job_is_enqueued_by_the_form(ann: Browser, redis: Redis) -> None:
    """Each input as its type says; what was left empty is not there. The same form sent twice makes one job."""
    form = filled((await ann.get("/enqueue?task=mail")).text) | {
        "input.to": "5", "input.times": "4", "input.speed": "slow", "input.urgent": "true",
        "input.at": "2026-11-30T12:00:00Z", "input.to_all": '["a",\r\n"b"]',
    }  # fmt: skip
    answers = [await ann.post("/enqueue", data=form) for _ in range(2)]
    assert [each.headers["location"] for each in answers] == ["/queues/mails?done=enqueued&n=1"] * 2
    [job] = await waiting(redis, "mails")
    assert job["class"] == "mail"
    assert job["args"] == [
        {"to": "5", "times": 4, "speed": "slow", "urgent": True, "at": "2026-11-30T12:00:00Z",
         "to_all": ["a", "b"]}
    ]  # fmt: skip
    first = (await audit(redis))[0]
    assert (first["who"], first["verb"], first["what"]) == (
        "ann",
        "enqueue",
        "job mail in queue mails",
    )
    assert "a@b" not in str(first)


async def test_with_other_values_it_is_another_job(ann: Browser, redis: Redis) -> None:
    """Who goes back in the browser, changes something, and sends the form again gets what they typed."""
    form = filled((await ann.get("/enqueue?task=mail")).text)
    for more in (
        {"input.to": "a"},
        {"input.to": "b"},
        {"input.to": "b"},
        {"input.to": "b", "in": "2h"},
    ):
        assert (await ann.post("/enqueue", data={**form, **more})).status_code == 303
    assert [job["args"][0]["to"] for job in await waiting(redis, "mails")] == ["a", "b"]
    assert await redis.zcard("resque:delayed_queue_schedule") == 1


async def test_a_form_with_two_fields_of_one_name_is_refused(ann: Browser, redis: Redis) -> None:
    """None of them is dropped in silence."""
    form = filled((await ann.get("/enqueue?task=mail")).text)
    given = {**form, "input.to": ["a", "b"]}
    answer = await ann.post("/enqueue", data=given)
    assert (answer.status_code, "input.to" in answer.text) == (400, True)
    assert await redis.keys("*") == []


HUGE = "1e400"  # JSON, but a number that no worker can read


@pytest.mark.parametrize(
    ("query", "typed", "field"),
    [
        ("", {"class": "x", "queue": "q", "args": f"[{HUGE}]"}, ""),
        ("", {"class": "x", "queue": "q", "args": '["\\ud800"]'}, ""),
        ("", {"class": "x\udc80", "queue": "q", "args": "[]"}, ""),
        ("", {"class": "x", "queue": "q", "args": "1" * 5000}, "args"),
        ("?task=mail&as=json", {"args": f'[{{"to": "a", "options": {{"n": {HUGE}}}}}]'}, "args"),
        ("?task=mail", {"input.to": "a", "input.options": f'{{"n": {HUGE}}}'}, "input.options"),
        ("?task=mail", {"input.to": "a", "input.times": "1" * 5000}, "input.times"),
        ("?task=mail", {"input.to": "a\udc80"}, "input.to"),
    ],
)  # fmt: skip
async def test_what_no_worker_could_read_is_refused(
    ann: Browser, redis: Redis, query: str, typed: dict[str, str], field: str
) -> None:
    """With what is wrong."""
    form = filled((await ann.get(f"/enqueue{query}")).text) | typed
    body = urlencode(form, errors="surrogateescape")
    kind = {"content-type": "application/x-www-form-urlencoded"}
    answer = await ann.post("/enqueue", content=body, headers=kind)
    assert answer.status_code == 422, answer.text[-900:]
    said = faults(answer.text).get(field) or re.findall(r'role="alert">([^<]+)<', answer.text)[0]
    assert said
    assert await redis.keys("*") == []


@pytest.mark.parametrize(
    ("typed", "wrong"),
    [
        ({}, {"input.to": "input 'to' is required"}),
        ({"input.to": "a", "input.times": "x"}, {"input.times": "input 'times' must be int, got 'x' (str)"}),
        ({"input.to": "a", "input.to_all": '["a", 1]'},
         {"input.to_all": "input 'to_all[1]' must be str, got 1 (int)"}),
        ({"input.to": "a", "queue": "a,b"}, {"queue": None}),
        ({"input.to": "a", "in": "soon"}, {"in": None}),
        ({"input.to": "a", "due": "soon"}, {"due": None}),
        ({"input.to": "a", "in": "5m", "due": "2030-01-01T00:00"}, {"due": "give one of the two times"}),
        ({"input.to": "[FILTERED]"}, {"input.to": None}),
    ],
)  # fmt: skip
async def test_what_is_wrong_is_said_at_its_field(
    ann: Browser, redis: Redis, typed: dict[str, str], wrong: dict[str, str | None]
) -> None:
    """And what was typed stays; nothing is enqueued, nothing noted."""
    form = filled((await ann.get("/enqueue?task=mail")).text) | typed
    answer = await ann.post("/enqueue", data=form)
    assert answer.status_code == 422
    assert filled(answer.text) == form
    said = faults(answer.text)
    assert said.keys() == wrong.keys()
    assert all(text in (None, said[name]) for name, text in wrong.items())
    assert 'aria-invalid="true"' in answer.text
    assert await redis.keys("*") == []


async def test_a_job_for_later(ann: Browser, redis: Redis) -> None:
    """After a time, or at one."""
    form = filled((await ann.get("/enqueue?task=by_place")).text) | {"input.user": "7"}
    for more in ({"in": "2h"}, {"due": "2096-10-02T07:06"}):
        answer = await ann.post("/enqueue", data={**form, "once": "", **more})
        assert answer.headers["location"] == "/delayed?done=enqueued&n=1"
    second = max(await redis.zrange("resque:delayed_queue_schedule", 0, -1))
    assert second == b"3999999960"
    [raw] = await redis.lrange("resque:delayed:3999999960", 0, -1)
    assert json.loads(raw)["args"] == [7]


async def test_a_task_of_another_language(make_console: MakeConsole, redis: Redis) -> None:
    """Class, queue and arguments; also where there is no project."""
    async with Browser(make_console(authenticate=as_role("operator"))) as ann:
        form = filled((await ann.get("/enqueue")).text)
        wrong = await ann.post("/enqueue", data={**form, "args": "{}"})
        assert faults(wrong.text).keys() == {"class", "queue", "args"}
        given = {**form, "class": "Ruby::Mail", "queue": "rails", "args": '[1, {"to": "ä"}]'}
        answer = await ann.post("/enqueue", data=given)
        assert answer.headers["location"] == "/queues/rails?done=enqueued&n=1"
    assert await waiting(redis, "rails") == [
        {"class": "Ruby::Mail", "queue": "rails", "args": [1, {"to": "ä"}]}
    ]


async def test_a_known_task_is_checked_as_json_too(ann: Browser, redis: Redis) -> None:
    """Whichever way its name came."""
    form = filled((await ann.get("/enqueue?task=mail&as=json")).text)
    assert json.loads(form["args"]) == [{}]
    wrong = await ann.post("/enqueue", data={**form, "args": '[{"too": 1}]'})
    assert "did you mean 'to'" in faults(wrong.text)["args"]
    other = filled((await ann.get("/enqueue")).text) | {"class": "mail", "queue": "x"}
    assert (await ann.post("/enqueue", data={**other, "args": "[]"})).status_code == 422
    right = await ann.post("/enqueue", data={**other, "args": '[{"to": "a"}]'})
    assert right.status_code == 303
    assert (await waiting(redis, "x"))[0]["args"] == [{"to": "a"}]


async def test_a_queue_that_is_full(redis: Redis, redis_url: str) -> None:
    """Is said on the form, which keeps what was typed."""
    connection = RedisOptions(redis_url, queue_limits={"mails": 1})
    console = Console(lambda: connection, ConsoleOptions(authenticate=as_role("operator")))
    async with Browser(console) as ann:
        given = {"class": "x", "queue": "mails", "args": "[7]", "once": "", "in": "", "due": ""}
        assert (await ann.post("/enqueue", data=given)).status_code == 303
        full = await ann.post("/enqueue", data=given)
    await console.close()
    assert full.status_code == 409
    assert "mails" in re.findall(r'role="alert">([^<]*)<', full.text)[0]
    assert filled(full.text) == given
    assert len(await waiting(redis, "mails")) == 1


# -- a failed job, edited --


def raw_job(class_name: str, args: list[Any]) -> bytes:
    """A job's bytes."""
    return json.dumps({"class": class_name, "queue": "mails", "args": args}).encode()


async def edit(ann: Browser, redis: Redis, job: bytes, query: str = "") -> dict[str, str]:
    """The form for a failed job."""
    raw = entry(1, job=job)
    await redis.rpush("resque:failed", raw)
    path = f"/failed/entries/{codec.digest(raw)}"
    link = re.findall(r'href="(/enqueue[^"]*)"', (await ann.get(path)).text)
    assert len(link) == 1
    return filled((await ann.get(html.unescape(link[0]) + query)).text)


async def test_a_failed_job_is_edited(ann: Browser, redis: Redis) -> None:
    """Its secret is not shown, and goes along; the old entry is removed, and can be put back."""
    job = raw_job("mail", [{"to": "ada", "times": 2, "token": "canary-1"}])
    form = await edit(ann, redis, job)
    assert form["input.token"] == "[FILTERED]"
    assert (form["input.to"], form["queue"]) == ("ada", "mail")
    undecided = await ann.post("/enqueue", data=form)
    assert faults(undecided.text).keys() == {"old"}

    answer = await ann.post("/enqueue", data={**form, "input.to": "eve", "old": "remove"})

    assert (await waiting(redis))[0]["args"] == [{"to": "eve", "times": 2, "token": "canary-1"}]
    assert await redis.llen("resque:failed") == 0
    page = (await ann.get(answer.headers["location"])).text
    assert "Enqueued, and the failed entry was removed" in page
    undo = re.findall(r'action="(/failed/undo/[^"]+)"', page)[0]
    await ann.post(undo, data={})
    assert await redis.lrange("resque:failed", 0, -1) == [entry(1, job=job)]
    assert [each["verb"] for each in await audit(redis)] == ["enqueue", "remove", "undo"]
    assert "canary-1" not in str(await audit(redis))


async def test_an_edited_job_as_json(ann: Browser, redis: Redis) -> None:
    """Its arguments, as its bytes have them, whether by name or by position; the secret goes along."""
    args = [{"to": "ada", "token": "canary-1"}]
    form = await edit(ann, redis, raw_job("mail", args), "&as=json")
    assert json.loads(form["args"]) == [{"to": "ada", "token": "[FILTERED]"}]
    given = {**form, "args": form["args"].replace("ada", "eve"), "old": "remove"}
    assert (await ann.post("/enqueue", data=given)).status_code == 303
    assert (await waiting(redis))[0]["args"] == [{"to": "eve", "token": "canary-1"}]
    form = await edit(ann, redis, raw_job("by_place", [7, "x"]), "&as=json")
    assert json.loads(form["args"]) == [7, "x"]
    assert (await ann.post("/enqueue", data={**form, "old": "keep"})).status_code == 303
    assert (await waiting(redis))[1]["args"] == [7, "x"]


@pytest.mark.parametrize("odd", [HUGE, '"\\ud800"'])
async def test_an_edited_job_with_what_no_json_can_say(
    ann: Browser, redis: Redis, odd: str
) -> None:
    """Which another language may have written: it does not become the text that stands for it in silence."""
    job = raw_job("Ruby", [1, {"password": "canary-1"}]).replace(b"[1,", f"[{odd},".encode())
    form = await edit(ann, redis, job)
    answer = await ann.post("/enqueue", data={**form, "old": "keep"})
    assert (answer.status_code, "args[0]" in answer.text) == (422, True)
    given = {**form, "args": re.sub(r"^\[\s*[^,]+,", "[2,", form["args"]), "old": "keep"}
    assert (await ann.post("/enqueue", data=given)).status_code == 303
    assert (await waiting(redis))[0]["args"] == [2, {"password": "canary-1"}]


async def test_whoever_changes_their_mind_about_the_old_entry_makes_no_second_job(
    ann: Browser, redis: Redis
) -> None:
    """The form sent again to remove it is the same job."""
    form = await edit(ann, redis, raw_job("Ruby", [1]))
    await ann.post("/enqueue", data={**form, "old": "keep"})
    await redis.rpush("resque:failed", entry(2))  # its place in the list is no part of it
    await ann.post("/enqueue", data={**form, "old": "remove"})
    assert len(await waiting(redis)) == 1
    assert await redis.lrange("resque:failed", 0, -1) == [entry(2)]


async def test_the_failed_entry_may_stay(ann: Browser, redis: Redis) -> None:
    """As it is."""
    form = await edit(ann, redis, raw_job("by_place", [7, "x"]))
    assert (form["input.user"], form["input.why"]) == ("7", "x")
    answer = await ann.post("/enqueue", data={**form, "input.user": "8", "old": "keep"})
    assert answer.headers["location"] == "/failed/entries?done=enqueued&n=1"
    assert (await waiting(redis))[0]["args"] == [8, "x"]
    assert await redis.llen("resque:failed") == 1


async def test_a_job_of_another_language_is_edited(ann: Browser, redis: Redis) -> None:
    """What was not touched stays as it was: a float is no integer, a secret no sign for one."""
    args = [
        1.0,
        {"password": "canary-1", "to": ["ada", "\u202e"], "n": 2**60},
        "redis://u:canary-3@h",
    ]
    form = await edit(ann, redis, raw_job("Ruby", args))
    assert "canary" not in form["args"]
    given = {**form, "args": form["args"].replace('"ada"', '"eve"'), "old": "keep"}
    assert (await ann.post("/enqueue", data=given)).status_code == 303
    [raw] = await redis.lrange("resque:queue:mail", 0, -1)
    assert json.loads(raw)["args"] == [
        1.0, {"password": "canary-1", "to": ["eve", "\u202e"], "n": 2**60}, "redis://u:canary-3@h"
    ]  # fmt: skip
    assert b"[1.0," in raw
    moved = {**given, "once": "2", "args": form["args"].replace('"password"', '"other"')}
    assert "type the value itself" in faults((await ann.post("/enqueue", data=moved)).text)["args"]


async def test_a_job_of_rails_gets_an_id_of_its_own(ann: Browser, redis: Redis) -> None:
    """It is written as Rails writes it, and was never tried."""
    inner = {
        "job_class": "Mail",
        "job_id": "a",
        "queue_name": "mail",
        "arguments": [1],
        "executions": 3,
    }
    form = await edit(ann, redis, raw_job(WRAPPER, [inner]))
    await ann.post("/enqueue", data={**form, "old": "keep"})
    [job] = await waiting(redis)
    assert job["class"] == WRAPPER
    new = job["args"][0]
    assert new["job_id"] not in ("a", "")
    assert {**new, "job_id": "a"} == {**inner, "executions": 0}


async def test_what_can_t_be_edited(
    ann: Browser, make_console: MakeConsole, redis: Redis
) -> None:  # fmt: skip
    """A record's job, one without arguments; and what is gone, or not for the eyes of who asks."""
    for job in (raw_job("mail", [{"_task_id": "x"}]), b'{"class": "x"}', b"[1]"):
        raw = entry(2, job=job)
        await redis.rpush("resque:failed", raw)
        digest = codec.digest(raw)
        assert "/enqueue" not in (await ann.get(f"/failed/entries/{digest}")).text
        assert (await ann.get(f"/enqueue?failed={digest}")).status_code == 409
    assert (await ann.get("/enqueue?failed=" + "0" * 40)).status_code == 404
    form = await edit(ann, redis, raw_job("by_place", [7]))
    await redis.delete("resque:failed")
    assert (await ann.post("/enqueue", data={**form, "old": "keep"})).status_code == 404
    assert await redis.keys("resque:queue:*") == []
    async with Browser(make_console(authenticate=as_role("admin"), read_only=True)) as readonly:
        assert (await readonly.get("/enqueue")).status_code == 403


SHOWN = {"a": [1, {"s": "[FILTERED]"}], "u": "x://u:***@h"}
REAL = {"a": [1, {"s": "secret"}], "u": "x://u:secret@h"}


def test_secrets_go_along() -> None:
    """What is as it was shown is what it is; a sign in another place is refused."""
    assert unhidden(SHOWN, SHOWN, REAL) == REAL
    assert unhidden({**SHOWN, "b": 1}, SHOWN, REAL) == {**REAL, "b": 1}
    assert unhidden({"a": [2, SHOWN["a"][1]]}, SHOWN, REAL) == {"a": [2, {"s": "secret"}]}
    assert unhidden([True], [1], [2]) == [True]
    for wrong in ({"b": SHOWN["a"]}, {"a": [SHOWN["a"][1]]}, {"u": "y://u:***@h"}):
        with pytest.raises(HiddenValue):
            unhidden(wrong, SHOWN, REAL)
