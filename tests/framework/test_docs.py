"""The reference and the code say the same."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, ClassVar, get_type_hints

from resqpy.framework.api.tasks_api import TasksApi
from resqpy.framework.process.health import HealthInitializer
from resqpy.framework.process.parts import (
    MetricsInitializer,
    RedisInitializer,
    ResqueInitializer,
    TasksInitializer,
    TrackedInitializer,
)
from resqpy.framework.tasks.task import PROPERTIES, Properties, Task
from tests.framework.config_table import PAGES, in_document

INITIALIZERS = Path(__file__).parents[2] / "docs" / "how-to" / "initializers.md"
TASKS = Path(__file__).parents[2] / "docs" / "reference" / "tasks.md"


def test_the_tables_are_those_of_the_code() -> None:
    """If not: `python -m tests.framework.config_table`."""
    assert [page for page in PAGES if in_document(page) != page.read_text()] == []


def test_the_priorities_of_resqpys_own_initializers() -> None:
    """By which users place theirs; `–`: there is nothing to do."""
    kinds: list[Any] = [
        *(HealthInitializer, RedisInitializer, ResqueInitializer),
        *(MetricsInitializer, TasksInitializer, TrackedInitializer),
    ]
    found = {}
    for row in re.findall(r"^\| `(\w+)`.*?\| (.*) \|$", INITIALIZERS.read_text(), re.MULTILINE):
        found[row[0]] = row[1].split(" | ")
    for kind in kinds:
        starts = str(kind.start_priority) if "start" in vars(kind) else "–"
        wanted = [str(kind.load_priority), starts, str(kind.stop_priority)]
        assert (kind.name, found.get(kind.name)) == (kind.name, wanted)
    assert found.keys() == {kind.name for kind in kinds}


def test_the_decorator_takes_the_properties_of_a_task_class() -> None:
    """With the types that the class declares; the name comes first, by itself."""
    declared = {name: get_type_hints(Task)[name] for name in PROPERTIES if name != "name"}

    assert {name: ClassVar[hint] for name, hint in get_type_hints(Properties).items()} == declared


def test_each_verb_of_the_api_is_in_the_reference() -> None:
    """With its arguments in their order."""
    text = TASKS.read_text()
    verbs = [name for name in vars(TasksApi) if not name.startswith("_")]

    assert [name for name in verbs if f"`{name}(" not in text] == []
