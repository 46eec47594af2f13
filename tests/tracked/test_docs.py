"""The reference names what the three pages name, and what the code has."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from resqpy.base.when import Backoff
from resqpy.framework.api.tracking import TrackedApi
from resqpy.framework.tasks.task import PROPERTIES
from resqpy.plugins import Retry
from resqpy.tracked import errors, processing
from resqpy.tracked.active import ActiveTask
from resqpy.tracked.checks import PRESETS
from resqpy.tracked.creating import CreateOptions
from resqpy.tracked.delivery import Listener
from resqpy.tracked.events import TaskEvents
from resqpy.tracked.handle import QueryOptions, Selection, SortBy, TrackedTask
from resqpy.tracked.record import TaskStatus
from resqpy.tracked.transitions import ZOMBIE
from resqpy.tracked.view import RunTimes

TEXT = (Path(__file__).parents[2] / "docs" / "reference" / "tracked.md").read_text()

THEIRS = {
    "irontask: `ActiveTask`": """attempts createTime currentRunStartTime deliveries enabled id interval
        lastRun lastUpdatedTime locked nextRunTime payload processingState runs status type complete
        defer delete fail forceRelease release retry save toJSON finished stateChanged lockRenewed
        lockLost disabled inactive""",
    "Extra Horizon: tasks": """functionName data tags startTimestamp priority createdByApplicationId
        createdByUserId creationTimestamp updateTimestamp statusChangedTimestamp new inProgress complete
        canceled failed retried retryForTaskIds retriedByTaskId zombieTaskCleaned task_failed""",
    "TWIN: `IBackgroundTaskConnector`": """registerHandler unregisterHandler create get retry remove
        cancel query retryCount retryInterval retainFor dateCreated dateModified dateCompleted cursor
        pageSize sortProperty sortDirection stateChangeCallback""",
}
WORD = re.compile(r"[A-Za-z_]\w*")


def rows(title: str) -> list[tuple[str, str]]:
    """The table of a system: theirs and ours."""
    section = TEXT.partition(f"### {title}\n")[2].partition("\n##")[0]
    lines = [line.split("|")[1:3] for line in section.splitlines() if line.startswith("| ")]
    return [(theirs, ours) for theirs, ours in lines if theirs.strip() != "theirs"]


def codes(text: str) -> list[str]:
    """What stands between backticks."""
    return re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))


def message_of(text: str) -> set[str]:
    """The names in the code of a text."""
    return {word for code in codes(text) for word in WORD.findall(code)}


@pytest.mark.parametrize(
    ("title", "name"), [(title, name) for title, names in THEIRS.items() for name in names.split()]
)
def test_each_name_of_theirs_has_a_row(title: str, name: str) -> None:
    """Every property, method and event of the three pages, as a whole name in the table of its system."""
    assert [ours for theirs, ours in rows(title) if name in message_of(theirs)] != []


def _known() -> Iterator[str]:
    """All names that our column may have."""
    kinds = (
        ActiveTask,
        TrackedTask,
        TrackedApi,
        Selection,
        Listener,
        Backoff,
        RunTimes,
        processing.Finished,
    )
    for kind in kinds:
        for base in inspect.getmro(kind):
            yield from base.__dict__
            yield from getattr(base, "__annotations__", ())
            for value in vars(base).values():
                if inspect.isfunction(value):
                    yield from inspect.signature(value).parameters
    for events in (processing.Processing, TaskEvents, Listener):
        yield from events.EVENTS
    yield from (*CreateOptions.__annotations__, *QueryOptions.__annotations__, *SortBy, *TaskStatus)
    yield from (*processing.ProcessingState, *vars(processing), *vars(errors), *PROPERTIES)
    yield from (*Retry.option_names, ZOMBIE, "Backoff", "True", "id")


@pytest.mark.parametrize("title", THEIRS)
def test_each_name_of_ours_exists(title: str) -> None:
    """A method, one of its arguments, a property, an event, a status, an option or an error."""
    known = set(_known())
    named = {word for _, ours in rows(title) for word in message_of(ours)}
    theirs = {"errorsToRetry"}  # named beside ours
    assert named - known - theirs == set()
    assert len(named) > 15


def test_each_option_has_a_row() -> None:
    """Of `create` and `query`."""
    names = {*CreateOptions.__annotations__, *QueryOptions.__annotations__, *PRESETS, *TaskStatus}
    assert names - message_of(TEXT) == set()


def test_each_verb_is_named() -> None:
    """Of the active task, and of `api.tracked`."""
    verbs = {
        name
        for kind in (ActiveTask, *TrackedApi.__mro__[:-1], Selection)
        for name in vars(kind)
        if not name.startswith("_")
    }
    inner = {"processing", "record", "changes", "write_end", "ending", "save_patch"}
    blocks = set(WORD.findall("\n".join(re.findall(r"```.*?```", TEXT, re.DOTALL))))
    assert verbs - message_of(TEXT) - blocks - inner == set()
