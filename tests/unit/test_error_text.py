"""What an error says, whatever its own code does when it is asked."""

from __future__ import annotations

import asyncio
import copy
import pickle
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import resqpy
from resqpy.base.errors import add_note, class_of, message_of, notes_of, repr_of, told
from resqpy.engine.traceback_text import lines_of


class Meta(type):
    """A class that can't say its name."""

    def __getattribute__(cls, name: str) -> Any:
        if name == "__qualname__":
            raise KeyError("no name")
        return super().__getattribute__(name)


class Odd(Exception):
    """Raises when it is asked for anything."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error

    def __str__(self) -> str:
        raise self.error

    __repr__ = __str__

    @property
    def __notes__(self) -> list[str]:  # type: ignore[override]
        raise self.error


ODD: list[BaseException] = [
    ValueError("v"),
    SystemExit(3),
    KeyboardInterrupt(),
    asyncio.CancelledError(),
    GeneratorExit(),
    BaseExceptionGroup("g", [SystemExit(1)]),
    RecursionError(),
]


@pytest.mark.parametrize("inner", ODD, ids=lambda error: type(error).__name__)
def test_an_error_that_can_not_say_it(inner: BaseException) -> None:
    """Each question has an answer that names the trouble."""
    error = Odd(inner)
    name = type(inner).__name__
    assert message_of(error) == f"<the error's own __str__ raised {name}>"
    assert repr_of(error) == f"<the error's own __repr__ raised {name}>"
    assert told(error).startswith("Odd: <")
    assert notes_of(error) == []
    assert any("Odd" in line for line in lines_of(error))
    add_note(error, "more")  # does nothing, where it can take none


@pytest.mark.parametrize("notes", [5, None, {"a": 1}, [Odd(ValueError())], "one", [b"\xff"]])
def test_odd_notes(notes: Any) -> None:
    """Anything may stand where Python keeps notes: a list of texts comes out."""
    error = ValueError("words")
    error.__notes__ = notes
    assert all(isinstance(each, str) for each in notes_of(error))
    assert lines_of(error)[0]
    add_note(error, "more")
    assert message_of(error) == "words"


def test_odd_words() -> None:
    """What is no text, no name, or endless."""

    class NoText(Exception):
        def __str__(self) -> Any:
            return 5  # noqa: PLE0307 - that is what is tried

    class Nameless(Exception, metaclass=Meta):
        pass

    assert message_of(NoText()) == "<the error's own __str__ raised TypeError>"
    assert class_of(Nameless()) == "<the error's own class name raised KeyError>"
    assert len(message_of(ValueError("x" * 5_000_000))) == 10_001


def test_causes_in_a_circle_and_a_long_chain() -> None:
    """A traceback ends, however its causes refer to each other, and is not endless."""
    one, other = ValueError("one"), ValueError("other")
    one.__cause__, other.__cause__ = other, one
    assert lines_of(one)[-1] == "ValueError: one"

    chain: BaseException = ValueError("first")
    for number in range(3000):
        following = ValueError(f"number {number}")
        following.__cause__, chain = chain, following
    assert lines_of(chain)[-1] == "ValueError: number 2999"
    assert len(lines_of(chain)) == 200

    nested: Exception = ValueError("innermost")
    for _ in range(2000):
        nested = ExceptionGroup("group", [nested])
    assert lines_of(nested)


def _fail(number: int) -> None:
    raise ValueError(number)


def _chain() -> None:
    try:
        _fail(1)
    except ValueError as error:
        raise KeyError("x") from error


def _group() -> None:
    try:
        _chain()
    except KeyError as first:
        try:
            _fail(2)
        except ValueError as second:
            raise ExceptionGroup("both", [first, second]) from None


def _deep(number: int = 20) -> None:
    return _deep(number - 1) if number else _fail(3)


class _Own(Exception):
    """Of a module and a class."""

    class Inner(ValueError):
        """Named by both."""


def _raising(error: BaseException) -> Callable[[], None]:
    def fail() -> None:
        raise error

    return fail


def _noted() -> None:
    error = ValueError("with a note")
    error.add_note("the note")
    raise error


def _misspelled() -> None:
    [].apend(1)  # type: ignore[attr-defined]


def _unreadable() -> None:
    compile("a b", "file.txt", "exec")


ALONE = [ValueError(), ValueError("two\nlines\n\n"), KeyError("k"), _Own.Inner("x"), SystemExit(3)]


@pytest.mark.parametrize(
    "function",
    [_chain, _group, _deep, _noted, _misspelled, _unreadable, *map(_raising, ALONE)],
)
def test_a_traceback_is_the_one_of_the_standard_library(function: Callable[[], None]) -> None:
    """The first time, and from what was kept of it."""
    with pytest.raises(BaseException) as raised:  # noqa: PT011 - of each its own
        function()
    whole = "".join(traceback.format_exception(raised.value)).splitlines()
    for _ in range(2):
        assert list(filter(None, lines_of(raised.value))) == list(filter(None, whole))


def test_equal_functions_in_two_files(tmp_path: Path) -> None:
    """Their code objects are equal; each traceback names its own file."""
    for name in ("one", "two"):
        file = tmp_path / f"{name}.py"
        file.write_text("def fail():\n    raise ValueError\n")
        names: dict[str, Any] = {}
        exec(compile(file.read_text(), str(file), "exec"), names)
        with pytest.raises(ValueError) as raised:  # noqa: PT011
            names["fail"]()
        assert any(str(file) in line for line in lines_of(raised.value))


def test_a_place_is_never_taken_for_another(tmp_path: Path) -> None:
    """Code that is gone may leave its identity to other code."""
    for number in range(600):  # more than are kept
        names: dict[str, Any] = {}
        lines = "\n" * number
        exec(compile(f"def fail():\n{lines}    raise ValueError", "gone.py", "exec"), names)
        with pytest.raises(ValueError) as raised:  # noqa: PT011
            names["fail"]()
        assert f'File "gone.py", line {number + 2}, in fail' in lines_of(raised.value)[-2]
        del names, raised


def _made(kind: Any) -> BaseException:
    if kind is resqpy.ProjectErrors:
        return resqpy.ProjectErrors([resqpy.ProjectProblem("no queue", "tasks/a.py", 3)])
    if kind is resqpy.Snooze:
        return resqpy.Snooze(60_000, reason="later", most=3)
    error: BaseException = kind("what happened")
    vars(error)["more"] = {"a": 1}
    return error


PUBLIC_ERRORS = [
    kind
    for name in resqpy.__all__
    if isinstance(kind := getattr(resqpy, name), type) and issubclass(kind, BaseException)
]


@pytest.mark.parametrize("kind", PUBLIC_ERRORS)
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_an_error_of_ours_comes_back_from_another_process(kind: Any, protocol: int) -> None:
    """A pool of processes breaks, or waits for ever, where what a function raised can't be made again."""
    error = _made(kind)
    error.add_note("seen")
    for again in (pickle.loads(pickle.dumps(error, protocol)), copy.copy(error)):
        assert type(again) is kind
        assert (str(again), again.args, vars(again)) == (str(error), error.args, vars(error))
