"""The table of ActionHero's and Stellar's names: complete on the left, true on the right."""

from __future__ import annotations

import re
from typing import Any

import click
import pytest

import resqpy
from resqpy import Process, Task, api
from resqpy.base.imports import import_dotted
from resqpy.cli.main import cli
from tests.docs.pages import DOCS

PAGE = (DOCS / "reference" / "names.md").read_text()
ROWS = [
    [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
    for line in PAGE.splitlines()
    if line.startswith("| ") and not line.startswith("| there")
]
NAMES = sorted({name for row in ROWS for name in re.findall(r"`([^`]+)`", row[1])})

# All names of code on the two pages, in the order in which they come.
ACTIONHERO = """
    enqueue enqueueAt enqueueIn toRun scheduler queues workerLogging failure success start end
    cleaning_worker poll job pause internalError multiWorkerAction schedulerLogging reEnqueue
    working_timestamp transferred_job timeout minTaskProcessors maxTaskProcessors checkTimeout
    maxEventLoopDelay toDisconnectProcessors resque_overrides queue multiWorker TaskProcessor
    api.config.tasks name description plugins pluginOptions frequency run params next exports.task
    exports.sayHello api.log queue-lock generate scheduledAt del delDelayed delQueue
    enqueueRecurrentJob stopRecurrentJob timestamps queued stats locks delLock delayedAt allDelayed
    workers workingOn allWorkingOn details failedCount failed removeFailed retryAndRemoveFailed
    node-schedule scheduleJob initialize stop scheduledJobs api.resque.scheduler.master
    cleanOldWorkers api.resque.queue enqueueFront NR.queue pluginRunner.runPlugins before_enqueue
    after_enqueue self.jobs connection.redis connection.key encode
"""
STELLAR = """
    enqueue enqueueAt enqueueIn makeTask --module name description queue frequency plugins
    pluginOptions run auth.sessionValidation api.log del delDelayed delQueue enqueueRecurrentJob
    stopRecurrentJob timestamps stats locks delLock removed delDelayesAt allDelayed workers details
    failedCount removeFailed retryAndRemoveFailed cleanOldWorkers
"""


@pytest.mark.parametrize("name", sorted({*ACTIONHERO.split(), *STELLAR.split()}))
def test_each_name_of_the_two_pages_has_a_row(name: str) -> None:
    """As a whole word, in the first column (or the third, where it is a value that somebody makes)."""
    word = re.compile(rf"(?<!\w){re.escape(name)}(?!\w)")

    assert [row for row in ROWS if word.search(row[0] + row[2])] != []


async def test_each_name_of_ours_exists(process: Process) -> None:
    """By import, by attribute of the running process, or as a command."""
    missing = []
    for name in NAMES:
        try:
            look_up(name)
        except Exception as error:
            missing.append(f"{name}: {error!r}")

    assert missing == []
    assert len(NAMES) > 70


def look_up(name: str) -> Any:
    """What a name of the second column leads to."""
    first, _, rest = name.partition(".")
    if first == "resqpy":
        return (
            follow(resqpy, rest) if hasattr(resqpy, rest.partition(".")[0]) else import_dotted(name)
        )
    if first == "api":
        return follow(api, rest)
    if first == "config":
        return follow(api.config, rest)
    if first == "Task":
        assert rest in Task.__annotations__, rest
        return rest
    return command(name)


def follow(thing: Any, path: str) -> Any:
    """An attribute of an attribute."""
    for part in path.split("."):
        thing = getattr(thing, part)
    return thing


def command(words: str) -> click.Command:
    """A command by its words: `resqpy generate task`."""
    found: click.Command = cli
    for word in words.split()[1:]:
        assert isinstance(found, click.Group), f"{words}: {found.name} is no group"
        inner = found.get_command(click.Context(found), word)
        assert inner is not None, f"there is no {word!r}"
        found = inner
    return found
