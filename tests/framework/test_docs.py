"""The reference and the code say the same."""

from __future__ import annotations

from pathlib import Path

from resqpy.framework.inspect_api import InspectApi
from resqpy.framework.task import PROPERTIES
from resqpy.framework.tasks_api import TasksApi
from tests.framework.config_table import DOC, in_document

TASKS = Path(__file__).parents[2] / "docs" / "reference" / "tasks.md"


def test_the_tables_of_settings_are_those_of_the_code() -> None:
    """If not: `python -m tests.framework.config_table`."""
    assert in_document(DOC.read_text()) == DOC.read_text()


def test_each_property_of_a_task_is_in_the_reference() -> None:
    """With a row of its own."""
    text = TASKS.read_text()

    assert [name for name in (*PROPERTIES, "run") if f"| `{name}` |" not in text] == []


def test_each_verb_of_the_api_is_in_the_reference() -> None:
    """With its arguments in their order."""
    text = TASKS.read_text()
    verbs = [
        name
        for kind in TasksApi.__mro__
        if issubclass(kind, InspectApi)
        for name in vars(kind)
        if not name.startswith("_")
    ]

    assert [name for name in verbs if f"`{name}(" not in text] == []
