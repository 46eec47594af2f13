"""Tasks that take their inputs by position: from every language, and back in the same shape."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from redis.asyncio import Redis

from resqpy import InvalidInputs, Limit, UsageError, api
from resqpy.base.masking import Redaction
from resqpy.framework.process.process import Process
from resqpy.framework.tasks.arguments import args_of, json_schema_of, params_of, shown_args
from resqpy.testing import drain, find_enqueued, run_full_task, run_task
from tests.framework.conftest import Files, MakeProject

TASKS = """
from datetime import datetime
from resqpy import Task, task

@task(name="SendInvoice", queue="mail")
async def send_invoice(id: int, why: str = "-", at: datetime | None = None, /):
    "I take mine as Ruby's perform does."
    return [id, why, at]

@task(queue="mail")
def many(*ids: int, dry: bool = False):
    "I take as many as there are."
    return [list(ids), dry]

@task(queue="mail")
def options(options: dict, more: dict | None = None, /, *, note: str = "", worker=None):
    "My first input is an object."
    return [options, more, note]

class Locked(Task):
    "One at a time for each id."
    queue = "mail"
    plugins = ("QueueLock",)

    async def run(self, id: int, token: str = "", /):
        return id

@task(queue="mail", frequency=3_600_000)
def often(id: int = 1, /):
    "By myself."
    return id
"""
MIDDLEWARE = """
from resqpy import Middleware

class Seen(Middleware):
    everywhere = True

    def pre_processor(self, call):
        call.run.state["seen"] = dict(call.params)
"""


@pytest.fixture
def project(make_project: MakeProject) -> Any:
    """The tasks above."""
    return make_project(tasks__one=TASKS, middleware__seen=MIDDLEWARE)


async def _waiting(redis: Redis) -> list[Any]:
    return [json.loads(raw)["args"] for raw in await redis.lrange("resque:queue:mail", 0, -1)]


@pytest.mark.parametrize(
    ("name", "args", "result"),
    [
        ("SendInvoice", [7], [7, "-", None]),
        ("SendInvoice", [7, "late"], [7, "late", None]),
        ("SendInvoice", [[7, "late"]], [7, "late", None]),  # PHP's array of arguments
        ("SendInvoice", [{"id": 7, "why": "late"}], [7, "late", None]),  # ActionHero's
        ("many", [1, 2, 3], [[1, 2, 3], False]),
        ("many", [1, {"dry": True}], [[1], True]),  # Ruby's keywords
        ("many", [], [[], False]),
        ("many", {}, [[], False]),  # Node's Lua
        ("many", [[]], [[], False]),  # PHP's
        ("many", [None], [[], False]),
        ("options", [{"a": 1}], [{"a": 1}, None, ""]),
        ("options", [{"note": "its own"}], [{"note": "its own"}, None, ""]),
        ("options", [{"a": 1}, {"note": "n"}], [{"a": 1}, None, "n"]),
        ("options", [{"a": 1}, {"b": 2}, {"note": "n"}], [{"a": 1}, {"b": 2}, "n"]),
    ],
)
async def test_it_runs_with_what_other_languages_write(
    name: str, args: Any, result: Any, project: Any, redis: Redis
) -> None:
    """By position, whatever wrote them."""
    async with Process(project):
        await redis.sadd("resque:queues", "mail")
        await redis.rpush("resque:queue:mail", json.dumps({"class": name, "args": args}))
        done = await drain("mail")
    assert [(each.end, each.result) for each in done.jobs] == [("success", result)]


@pytest.mark.parametrize(
    ("args", "why"),
    [
        ([], "input 'id' is required"),
        ([[]], "input 'id' is required"),
        (["7"], "input 'id' must be int, got '7' (str)"),
        ([7, 8], "input 'why' must be str, got 8 (int)"),
        ([7, "x", None, 9], "takes 3 inputs by position (id, why, at); the job has 4"),
        ([{"id": 7, "wy": 1}], "input 'id' must be int"),
        ([{"id": "7"}], "input 'id' must be int, got '7' (str)"),
    ],
)
def test_what_does_not_fit_is_told(args: list[Any], why: str, project: Any) -> None:
    """With the name of the input and the value, as of inputs by name."""
    with pytest.raises(InvalidInputs) as error:
        params_of(project.registry.task("SendInvoice"), args)
    assert why in str(error.value)


async def test_each_way_of_enqueueing_writes_the_same_shape(project: Any, redis: Redis) -> None:
    """By the task's own verbs, by name, many, later, with a key, from code without a loop."""
    many, send_invoice = (project.registry.task(each).defined for each in ("many", "SendInvoice"))

    async with Process(project):
        assert await send_invoice.enqueue(1, "a")
        assert await send_invoice.enqueue(2)
        assert await api.tasks.enqueue("SendInvoice", {"id": 3, "at": "2026-01-01T00:00:00Z"})
        assert await send_invoice.enqueue_many([send_invoice.job(4), {"id": 5, "why": "b"}])
        assert await many.enqueue(1, 2, dry=True)
        assert await many.enqueue()
        once = send_invoice.once("k")
        assert [bool(await once.enqueue(6)), bool(await once.enqueue(6))] == [True, False]
        assert await send_invoice.enqueue_in(60_000, 7, "later")
        found = await find_enqueued("SendInvoice", {"id": 7, "why": "later"})
        assert [each.args for each in found] == [[7, "later"]]
        assert await api.tasks.scheduled_at("mail", "SendInvoice", {"id": 7, "why": "later"})
        assert await api.tasks.delete("mail", "SendInvoice", {"id": 2}) == 1
        assert await _waiting(redis) == [
            [1, "a"], [3, "-", "2026-01-01T00:00:00Z"], [4], [5, "b"], [1, 2, {"dry": True}], [], [6],
        ]  # fmt: skip


async def test_the_verbs_without_a_loop_do_the_same(project: Any, redis: Redis) -> None:
    """They share the checks."""
    send_invoice = project.registry.task("SendInvoice").defined

    async with Process(project):
        await asyncio.to_thread(send_invoice.sync.enqueue, 8, "sync")
        with pytest.raises(InvalidInputs, match="'id' must be int"):
            await asyncio.to_thread(send_invoice.sync.enqueue, "8")
        assert await _waiting(redis) == [[8, "sync"]]


async def test_locks_and_periodic_tasks_take_the_same_shape(project: Any, redis: Redis) -> None:
    """An equal job is one with the same arguments by position; a periodic one has none."""
    locked = project.registry.task("locked").defined

    async with Process(project):
        assert await locked.enqueue(1)
        assert not await locked.enqueue(1)
        assert await locked.enqueue(2)
        assert project.registry.definitions["often"].periodic.args == ()
        assert await run_full_task("locked", {"id": 3}) == 3
        assert [each.result for each in (await drain("mail")).jobs] == [1, 2]


def test_what_stands_between_is_filled_by_its_default(project: Any) -> None:
    """What has none must be given; an object that could be taken for inputs by name is followed by them."""
    tasks = project.registry
    assert args_of(tasks.task("SendInvoice"), {"id": 1, "at": "T"}) == [1, "-", "T"]
    with pytest.raises(InvalidInputs, match="'id' must be given"):
        args_of(tasks.task("SendInvoice"), {"why": "x"})
    assert args_of(tasks.task("options"), {"options": {"note": "mine"}}) == [{"note": "mine"}, {}]


@pytest.mark.parametrize(
    ("task", "inputs", "why"),
    [
        ("SendInvoice", {"idd": 7}, "input 'idd' is unknown; did you mean 'id'?"),
        ("SendInvoice", {"id": 7, "wy": "late"}, "input 'wy' is unknown; did you mean 'why'?"),
        ("often", {"worker": 1}, "input 'worker' is unknown"),
        ("many", {"ids": 5}, "input 'ids' must be a list, got 5 (int)"),
        ("many", {"ids": "12"}, "input 'ids' must be a list, got '12' (str)"),
    ],
)
async def test_no_other_job_is_taken_for_what_is_misspelled(
    task: str, inputs: dict[str, Any], why: str, project: Any, redis: Redis
) -> None:
    """Whatever finds jobs by their inputs; nothing is removed or moved then."""
    async with Process(project):
        tasks = api.tasks
        await tasks.enqueue("many", {"ids": [1, 2]})
        await redis.rpush("resque:queue:mail", json.dumps({"class": task, "args": []}))
        before = await _waiting(redis)
        for verb in (
            lambda: tasks.delete("mail", task, inputs),
            lambda: tasks.move("mail", "other", task_name=task, args=inputs),
            lambda: tasks.del_delayed("mail", task, inputs),
            lambda: tasks.scheduled_at("mail", task, inputs),
            lambda: tasks.enqueue_delayed(task, inputs),
            lambda: run_full_task(task, inputs),
            lambda: run_task(task, inputs),
        ):
            with pytest.raises(InvalidInputs) as error:
                await verb()
            assert why in str(error.value)
        assert await _waiting(redis) == before


def test_secrets_are_hidden_by_the_names_of_inputs(project: Any) -> None:
    """In a list nothing says that a value is one."""
    task, redaction = project.registry.task("locked"), Redaction()
    assert shown_args(task, [1, "s3cret"], redaction) == [1, "[FILTERED]"]
    assert shown_args(task, [[1, "s3cret"]], redaction) == [[1, "[FILTERED]"]]
    assert shown_args(None, [1, "x"], redaction) == [1, "x"]


def test_the_schema_is_that_of_the_list(project: Any) -> None:
    """As it stands in Redis."""
    schema = json_schema_of(project.registry.task("many"))
    assert (schema["type"], "prefixItems" in schema) == ("array", False)
    schema = json_schema_of(project.registry.task("locked"))
    assert [each["type"] for each in schema["prefixItems"]] == ["integer", "string"]
    assert (schema["minItems"], schema["items"]) == (1, False)
    for each in project.registry.tasks.values():
        Draft202012Validator.check_schema(json_schema_of(each))


async def test_it_cannot_be_tracked(project: Any) -> None:
    """Its job has no place for the id of a record."""
    async with Process(project):
        with pytest.raises(UsageError, match="takes its inputs by position"):
            await api.tracked.create("SendInvoice", {"id": 1})


@pytest.mark.parametrize(
    ("parameters", "why"),
    [
        ("worker, id, /", "'worker' is no input, so it has no position"),
        ("params, /", "'params' is no input"),
        ("id, *more: int", "'id' stands before *more"),
    ],
)
def test_what_has_no_position_is_told_at_load(parameters: str, why: str, files: Files) -> None:
    """With the way out."""
    files.write(tasks__one=f"from resqpy import task\n@task\ndef one({parameters}):\n    'One.'\n")
    [problem] = files.problems()
    assert why in problem


def test_a_limit_for_each_value_reads_it_at_its_place(make_project: MakeProject) -> None:
    """It is called as it would be by name."""
    text = """
    from resqpy import Limit, task

    @task(queue="mail", limit=[Limit(1, per="account"), Limit(2, per="shop"), Limit(3)])
    async def charge(number: int, account: str, /, *, shop: str = ""):
        "Charge an account."
    """
    definition = make_project(tasks__one=text).registry.definitions["charge"]
    by_place = Limit(1, per="#2", name="charge:account")
    assert definition.limit == (by_place, Limit(2, per="shop"), Limit(3))


def test_a_limit_for_an_input_without_a_place_is_told(files: Files) -> None:
    """Redis could not read it."""
    files.write(
        tasks__one="from resqpy import Limit, task\n@task(limit=Limit(1, per='ids'))\n"
        "def one(*ids: int):\n    'One.'\n"
    )
    [problem] = files.problems()
    assert "limit is per 'ids', which has no place of its own in a job" in problem
