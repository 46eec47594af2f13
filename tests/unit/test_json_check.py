"""What is JSON for everybody, and what is not."""

from __future__ import annotations

from typing import Any

import pytest

from resqpy.base.json_rules import MAX_NESTING, depth, explain, plain, read_strict


@pytest.mark.parametrize(
    "value", [None, True, 1, -(2**64), 1.5, "é", [], (), {}, [{"a": (1, [2.0])}]]
)
def test_plain_values(value: Any) -> None:
    """JSON keeps them."""
    assert plain(value)
    assert explain(value) is None


class _Int(int):
    pass


@pytest.mark.parametrize(
    "value", [float("nan"), 10**400, {1: 2}, {"a": {3}}, b"", _Int(1), object()]
)
def test_values_that_are_not_plain(value: Any) -> None:
    """Subclasses too: what JSON makes of them is asked then."""
    assert not plain(value)
    assert not plain([[value]])


def test_the_path_is_that_of_the_first_problem() -> None:
    """Lists by number, objects by name."""
    value = [1, {"a": [0, {"b": b""}]}, b""]
    assert (explain(value) or "").startswith("args[1].a[1].b: bytes is not JSON")
    assert (explain(b"", "payload") or "").startswith("payload: bytes")


@pytest.mark.parametrize("levels", [MAX_NESTING, MAX_NESTING + 1])
def test_the_quick_and_the_slow_limit_are_one(levels: int) -> None:
    """97 levels, not 98."""
    value: Any = 1
    for _ in range(levels):
        value = [value] if levels % 2 else {"a": value}
    fine = levels == MAX_NESTING
    assert plain(value) == fine
    assert (explain(value) is None) == fine
    assert depth(value) == levels


def test_a_path_has_an_end() -> None:
    """A message stays readable."""
    value: Any = 1
    for _ in range(200):
        value = {"name" * 10: value}
    assert len(explain(value) or "") < 300


@pytest.mark.parametrize(
    "raw",
    [b"", b"nul", b"NaN", b"[Infinity]", b"1e400", b"\xff", b'"\\ud800"', b'"\\uDC00"', b"[" * 10_000,
     b"1 2", b"\xef\xbb\xbf1", b"[" * 99 + b"]" * 99, b'"\t"'],
)  # fmt: skip
def test_strict_reading_refuses(raw: bytes) -> None:
    """What Ruby or Node can't read."""
    with pytest.raises(ValueError):  # noqa: PT011
        read_strict(raw)


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (b" [1.0e-05, 1E2] \n", [1e-05, 100.0]),
        (b'"\\ud83d\\ude00 \\\\ud800"', "😀 \\ud800"),
        (b"[" * 98 + b"]" * 98, None),
        (b'{"a":1,"a":2}', {"a": 2}),
        (b'"' + b"[" * 500 + b'"', "[" * 500),
    ],
)
def test_strict_reading_reads(raw: bytes, value: Any) -> None:
    """Blanks, exponents, pairs, brackets in texts."""
    assert value is None or read_strict(raw) == value
    read_strict(raw)
