"""Typed inputs in the syntax of Python 3.12: type aliases and parameters of types."""

from __future__ import annotations

import sys
from datetime import date
from types import ModuleType
from typing import Any

import pytest

from resqpy.framework.tasks.inputs import Input, Inputs

pytestmark = pytest.mark.skipif(sys.version_info < (3, 12), reason="needs Python 3.12")

CODE = """
from dataclasses import dataclass
from datetime import date
from typing import NamedTuple, NotRequired, TypedDict

type Tree = dict[str, Tree] | date
type Pair[T] = tuple[T, T]

@dataclass
class Page[T]:
    rows: list[T]
    next: Page[T] | None = None

class Point[T](NamedTuple):
    x: T

class Span[T](TypedDict):
    start: T
    end: NotRequired[T]
"""
DAY = date(2026, 1, 2)
FORMS = {
    "Tree": ({"a": {"b": DAY}}, {"a": {"b": "2026-01-02"}}),
    "Pair[date]": ((DAY, DAY), ["2026-01-02", "2026-01-02"]),
    "Page[date]": (
        lambda page: page([DAY], page([DAY])),
        {"rows": ["2026-01-02"], "next": {"rows": ["2026-01-02"], "next": None}},
    ),
    "Point[date]": (lambda point: point(DAY), {"x": "2026-01-02"}),
    "Span[date]": ({"start": DAY}, {"start": "2026-01-02"}),
}


@pytest.mark.parametrize("hint", FORMS)
@pytest.mark.parametrize("head", ["", "from __future__ import annotations"])
def test_each_form(hint: str, head: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With annotations that are evaluated, and with those that are texts."""
    module = ModuleType("syntax")
    monkeypatch.setitem(sys.modules, "syntax", module)
    late = head or sys.version_info >= (3, 14)
    code = CODE if late else CODE.replace("Page[T] | None", '"Page[T] | None"')
    exec(f"{head}\n{code}", vars(module))
    given, json = FORMS[hint]
    value: Any = given(getattr(module, hint.partition("[")[0])) if callable(given) else given
    inputs = Inputs("t", {"x": Input(type=eval(hint, vars(module)))}, extra=False)

    assert inputs.as_sent({"x": value}) == {"x": json}
    assert inputs.check({"x": json}) == {"x": value}
    assert inputs.json_schema()["$defs"]
