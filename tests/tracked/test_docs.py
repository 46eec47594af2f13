"""The reference names what the three pages name, and what the code has."""

from __future__ import annotations

from pathlib import Path

import pytest

from resqpy.base.task_status import TaskStatus
from resqpy.engine.tracked.active import ActiveTask
from resqpy.engine.tracked.creating import CreateOptions
from resqpy.engine.tracked.defaults import PRESETS
from resqpy.engine.tracked.query import QueryOptions
from resqpy.engine.tracked.selection import Selection
from resqpy.framework.tracking import TrackedApi

TEXT = (Path(__file__).parents[2] / "docs" / "reference" / "tracked.md").read_text()

IRONTASK = """attempts createTime currentRunStartTime deliveries enabled id interval lastRun
    lastUpdatedTime locked nextRunTime payload processingState runs status type complete defer delete
    fail forceRelease release retry save toJSON finished stateChanged lockRenewed lockLost disabled
    inactive"""
EXTRA_HORIZON = """functionName data tags startTimestamp priority createdByApplicationId
    createdByUserId creationTimestamp updateTimestamp statusChangedTimestamp new inProgress complete
    canceled failed retried retryForTaskIds retriedByTaskId zombieTaskCleaned task_failed"""
TWIN = """registerHandler unregisterHandler create get retry remove cancel query retryCount
    retryInterval retainFor dateCreated dateModified dateCompleted cursor pageSize sortProperty
    sortDirection stateChangeCallback"""


@pytest.mark.parametrize("name", [*IRONTASK.split(), *EXTRA_HORIZON.split(), *TWIN.split()])
def test_each_name_of_theirs_has_a_row(name: str) -> None:
    """Every property, method and event of the three pages."""
    rows = [line.split("|")[1] for line in TEXT.splitlines() if line.startswith("|")]
    assert any(name in row for row in rows)


def test_each_option_has_a_row() -> None:
    """Of `create` and `query`."""
    names = {*CreateOptions.__annotations__, *QueryOptions.__annotations__, *PRESETS, *TaskStatus}
    assert [name for name in names if name not in TEXT] == []


def test_each_verb_is_named() -> None:
    """Of the active task, and of `api.tracked`."""
    verbs = [
        name
        for kind in (ActiveTask, *TrackedApi.__mro__[:-1], Selection)
        for name in vars(kind)
        if not name.startswith("_")
    ]
    inner = {"processing", "record", "changes", "write_end", "ending", "save_patch", "fetch"}
    assert [name for name in verbs if name not in TEXT and name not in inner] == []
