"""Definitions of tasks: what is known at boot, and what is refused there."""

from __future__ import annotations

import functools
from datetime import timedelta
from typing import Any, ClassVar

import pytest

from resqpy import Plugin
from resqpy.base.errors import ImportFailed, InvalidTask, UnknownOption, UsageError
from resqpy.base.imports import import_dotted
from resqpy.engine.definition import define, definitions
from resqpy.engine.run import Run
from resqpy.plugins import DelayQueueLock, JobLock, Noop, QueueLock, Retry

CUSTOMS = "tests.plugins.customs"


class Mine(Plugin):
    """A plugin with an option."""

    option_names: ClassVar[frozenset[str]] = frozenset({"max_size"})

    async def before_perform(self, run: Run) -> bool:
        """Allow it."""
        return True


async def coroutine() -> None:
    """A task."""


class Callable:
    """A task with a coroutine function for a call."""

    async def __call__(self) -> None:
        """Do nothing."""


@pytest.mark.parametrize(
    ("perform", "is_async"),
    [
        (coroutine, True),
        (Callable(), True),
        (functools.partial(coroutine), True),
        (print, False),
        (lambda: None, False),
        (Callable, False),
    ],
)
def test_sync_or_async_is_settled_here(perform: Any, is_async: bool) -> None:
    """What is awaited runs on the loop, the rest in threads."""
    assert define("job", perform).is_async is is_async


@pytest.mark.parametrize(
    "plugin", ["JobLock", "resqpy.plugins.JobLock", "resqpy.plugins.locks:JobLock", JobLock]
)
def test_a_plugin_is_named_in_many_ways(plugin: Any) -> None:
    """By its name, a dotted path, or the class; with the options under its name."""
    definition = define(
        "job", print, plugins=[plugin], plugin_options={"JobLock": {"lockTimeout": 7}}
    )
    [made] = definition.plugins
    assert isinstance(made, JobLock)
    assert made.lock_timeout_s == 7


@pytest.mark.parametrize(
    ("name", "plugin"),
    [("JobLock", JobLock), ("QueueLock", QueueLock), ("DelayQueueLock", DelayQueueLock),
     ("Retry", Retry), ("Noop", Noop)],
)  # fmt: skip
def test_the_names_are_node_s(name: str, plugin: type[Plugin]) -> None:
    """Each built-in plugin is found by the name that node-resque has for it."""
    assert import_dotted(f"resqpy.plugins.{name}") is plugin


def test_an_instance_is_taken_as_it_is() -> None:
    """It has its options already; further ones are refused."""
    mine = Mine({"maxSize": 3})
    assert define("job", print, plugins=[mine]).plugins == (mine,)
    with pytest.raises(InvalidTask, match="Mine"):
        define("job", print, plugins=[mine], plugin_options={"Mine": {"maxSize": 4}})


def test_option_names_in_both_spellings() -> None:
    """node-resque's camelCase and Python's snake_case are the same option."""
    for name in ("maxSize", "max_size"):
        [made] = define("job", print, plugins=[Mine], plugin_options={"Mine": {name: 3}}).plugins
        assert made.options == {"max_size": 3}


@pytest.mark.parametrize(
    ("plugin", "words"),
    [
        ("JobLok", "no plugin is named 'JobLok'; did you mean 'JobLock'?"),
        ("job_lock", "did you mean 'JobLock'?"),
        ("Cache", r"no plugin is named 'Cache' \(built in: DelayQueueLock, JobLock, Noop"),
        (f"{CUSTOMS}.Vetto", "has no 'Vetto'; did you mean 'Veto'?"),
        ("no.such.module.Plugin", "'no.such.module.Plugin'"),
        ("builtins.str", "is not a plugin"),
        (str, "is not a plugin"),
        (7, "7 is not a plugin"),
    ],
)
def test_what_is_no_plugin_is_refused(plugin: Any, words: str) -> None:
    """With the task's name and the nearest plugin's."""
    with pytest.raises((ImportFailed, InvalidTask), match=words) as caught:
        define("job", print, plugins=[plugin])
    assert str(caught.value).startswith("task 'job': ")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"Mine": {"maxsize": 1}}, "unknown option 'maxsize' for plugin Mine; did you mean 'max_size'"),
        ({"Mine": {"maxSzie": 1}}, r"did you mean 'maxSize'\? \(options: maxSize\)"),
        ({"Mine": {"color": 1}}, r"unknown option 'color' for plugin Mine \(options: max_size\)"),
        ({"Mnie": {"max_size": 1}}, "options for 'Mnie', a plugin it doesn't use; did you mean 'Mine'"),
        ({"Retry": {"retryLimit": 1}}, "options for 'Retry', a plugin it doesn't use"),
    ],
)  # fmt: skip
def test_options_that_nobody_reads_are_refused(options: Any, words: str) -> None:
    """A misspelt option never passes in silence."""
    with pytest.raises(UnknownOption, match=words) as caught:
        define("job", print, plugins=[Mine], plugin_options=options)
    assert str(caught.value).startswith("task 'job': ")


def test_hooks_nobody_wrote_are_nobody_s_cost() -> None:
    """A task's plugins are sorted at boot by where they have a part."""
    task = define(
        "job", print, plugins=["QueueLock", "Noop", "DelayQueueLock", f"{CUSTOMS}.Follow"]
    )
    names = [
        [plugin.name for plugin in part]
        for part in (task.around, task.enqueue_hooks, task.guarding)
    ]
    assert names == [
        ["QueueLock", "Noop", "Follow"], ["Follow"], ["QueueLock", "DelayQueueLock"],
    ]  # fmt: skip


def test_two_plugins_have_their_place_wherever_they_are_named() -> None:
    """QueueLock's is freed whatever the others decide, Noop gets what they leave; the rest stays."""
    task = define("job", print, plugins=["JobLock", "Retry", "Noop", "QueueLock"])
    assert [p.name for p in task.around] == ["QueueLock", "Noop", "JobLock", "Retry"]
    assert [p.name for p in task.plugins] == ["JobLock", "Retry", "Noop", "QueueLock"]


def test_jobs_are_defined_as_in_node_resque() -> None:
    """A mapping with `perform`, `plugins`, `pluginOptions`; a function; a definition."""
    ready = define("ready", print)
    found = definitions(
        {
            "mapped": {
                "perform": print,
                "plugins": ["Retry"],
                "pluginOptions": {"Retry": {"retryLimit": 3}},
            },
            "plain": print,
            "ready": ready,
        }
    )
    assert found["ready"] is ready
    assert found["plain"].plugins == ()
    [retry] = found["mapped"].plugins
    assert isinstance(retry, Retry)
    assert retry.retry_limit == 3


@pytest.mark.parametrize(
    ("job", "words"),
    [
        ({"plugins": []}, "task 'job' has no perform"),
        ({"perform": print, "plugin": []}, "unknown 'plugin'; did you mean 'plugins'"),
        ({"perform": "print"}, "perform is 'print', not a function"),
        (None, "perform is None, not a function"),
        ({"perform": print, "time_limit": "5s"}, "time_limit: '5s'"),
    ],
)
def test_what_is_no_task_is_refused(job: Any, words: str) -> None:
    """With its name and what is wrong."""
    with pytest.raises(UsageError, match=words):
        definitions({"job": job})


def test_a_time_limit_is_milliseconds_or_a_timedelta() -> None:
    """Inside it is seconds."""
    assert define("job", print, time_limit=1500).time_limit_s == 1.5
    assert define("job", print, time_limit=timedelta(minutes=1)).time_limit_s == 60
    assert define("job", print).time_limit_s is None
