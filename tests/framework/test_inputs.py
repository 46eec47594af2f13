"""Inputs: declared, checked when a job is enqueued and again before it runs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypedDict

import pytest

from resqpy.base.errors import InvalidInputs, UsageError
from resqpy.framework.api.api import api
from resqpy.framework.process.process import Process
from resqpy.framework.tasks.hints import reader_of
from resqpy.framework.tasks.inputs import Input, Inputs
from resqpy.framework.tasks.readers import Mismatch
from resqpy.framework.tasks.spec import merge_inputs
from tests.framework.conftest import MakeProject, until


class Address(TypedDict):
    """A dict with known keys."""

    street: str


@pytest.mark.parametrize(
    ("hint", "right", "wrong"),
    [
        (Any, [1, None, "x", []], []),
        (str, [""], [1, None, b"", []]),
        (int, [0, -1, 2**70], [True, 1.0, "1", None]),
        (float, [1, 1.5], [True, "1"]),
        (bool, [True, False], [0, "true"]),
        (None, [None], [0, ""]),
        (str | None, ["x", None], [1]),
        (int | str, [1, "x"], [1.5, None]),
        (list, [[], [1, "x"], (1,)], ["x", {}]),
        (list[int], [[], [1]], [["x"], [1, None]]),
        (tuple[int, str], [(1, "x")], [[1], ["x", 1]]),
        (tuple[int, ...], [(), (1, 2)], [["x"]]),
        (dict, [{}, {"a": 1}], [[], "x"]),
        (dict[str, int], [{}, {"a": 1}], [{"a": "x"}]),
        (Mapping[str, list[int]], [{"a": [1]}], [{"a": ["x"]}]),
        (Literal["a", 1], ["a", 1], ["b", True]),
        (Address, [{"street": "x"}, {"street": "x", "more": 1}], ["x", {}, {"street": 1}]),
    ],
)
def test_type_hints_check_json_values(hint: Any, right: list[Any], wrong: list[Any]) -> None:
    """What a hint says is what JSON's values are compared with."""
    reader = reader_of(hint)

    assert [value for value in right if reader.read(value) != value] == []
    for value in wrong:
        with pytest.raises(Mismatch):
            reader.read(value)


@pytest.mark.parametrize("hint", [bytes, complex, object().__class__ | bytes, dict[float, str]])
def test_what_json_cant_carry_is_no_type_of_an_input(hint: Any) -> None:
    """It would arrive as something else."""
    with pytest.raises(UsageError, match="JSON"):
        reader_of(hint)


def inputs(*, extra: bool = False, **declared: Input) -> Inputs:
    """The inputs of a task t."""
    return Inputs("t", declared, extra=extra)


def test_defaults_formatters_and_validators() -> None:
    """In this order: default, type, formatter, validator."""
    made = inputs(
        to=Input(required=True, formatter=str.lower, validator=lambda value: "@" in value),
        copies=Input(default=1, type=int),
        when=Input(default=lambda: "now"),
        note=Input(),
    )

    assert made.check({"to": "A@B"}) == {"to": "a@b", "copies": 1, "when": "now"}
    assert made.check({"to": "a@b", "copies": 3, "when": "x", "note": None})["copies"] == 3


def test_all_that_is_wrong_is_told_at_once() -> None:
    """Required, unknown with a near match, of a wrong type, refused by a validator in three ways."""

    def angry(_: Any) -> None:
        raise ValueError("not today")

    made = inputs(
        to=Input(required=True),
        copies=Input(type=int),
        a=Input(validator=lambda _: False),
        b=Input(validator=lambda _: "too long"),
        c=Input(validator=angry),
        d=Input(formatter=int),
    )
    with pytest.raises(InvalidInputs) as raised:
        made.check({"copeis": 1, "copies": "1", "a": 1, "b": 1, "c": 1, "d": "x"})

    assert str(raised.value).split("; ", 1)[0] == "task 't': input 'copeis' is unknown"
    for words in (
        "did you mean 'copies'?",
        "input 'to' is required",
        "input 'copies' must be int, got '1' (str)",
        "input 'a' is not valid: 1 (int)",
        "input 'b' is not valid: too long",
        "input 'c' is not valid: not today",
        "input 'd' is not valid: invalid literal for int()",
    ):
        assert words in str(raised.value)


def test_a_secrets_value_is_not_told() -> None:
    """An error's words stand in logs and in the failed list."""
    with pytest.raises(InvalidInputs) as raised:
        inputs(password=Input(type=int)).check({"password": "tiger"})

    assert str(raised.value) == "task 't': input 'password' must be int, got a str"


def test_what_a_project_hides_is_told_by_no_check() -> None:
    """Not as a value, within one, or in the words of a formatter or validator that quotes it."""

    def fits(value: str) -> str:
        return f"{value} is stolen"

    declared = inputs(
        card=Input(type=str),
        card_code=Input(formatter=int),
        cards=Input(validator=fits),
        order=Input(type=str),
        note=Input(validator=lambda _: False),
    )
    declared.hide(["CARD"])
    given = {
        "card": 4111, "card_code": "4112x", "cards": "4113", "order": {"card": "4114", "n": 7},
        "note": '{"card": "4115"}',
    }  # fmt: skip
    with pytest.raises(InvalidInputs) as raised:
        declared.check(given)

    told = str(raised.value)
    assert "411" not in told
    for words in ("got a int", "'n': 7", "is stolen", "invalid literal for int()"):
        assert words in told
    assert "4114" not in declared.quoted([{"card": "4114"}])


async def test_no_error_tells_what_logger_filtered_names(make_project: MakeProject) -> None:
    """For the caller, and for a foreign job, whose words go to the failed list."""
    project = make_project(
        {"logger.filtered": ["iban"]},
        tasks__a="""
        from resqpy import task

        @task(queue="a")
        async def pay(iban: int = 0): "I pay."
        """,
    )
    async with Process(project, worker=True) as process:
        with pytest.raises(InvalidInputs) as raised:
            await api.tasks.enqueue("pay", {"iban": "DE77"})
        for args in ([{"iban": "DE77"}], [{"iban": "DE77"}, "more"]):
            await process.resque.queue.enqueue("a", "pay", args)
        await until(lambda: _has_failed(2))
        failed = await api.tasks.failed()
    assert "'iban' must be int" in str(raised.value)
    assert all(each.exception == "InvalidInputs" for each in failed)
    assert "DE77" not in str([raised.value, *(each.error for each in failed)])


async def _has_failed(number: int) -> bool:
    return await api.tasks.failed_count() == number


async def several(
    names: "list['str']",  # noqa: UP037 - what is tested
    speed: Literal["fast", "slow"] = "slow",
    to: Annotated[str, Input(validator=lambda value: "@" in value)] = "a@b",
) -> None:
    """A run."""


def test_hints_are_read_wherever_a_quote_stands() -> None:
    """And an `Input` may stand in `Annotated`."""
    _, declared = merge_inputs(several, {})
    made = Inputs("t", declared, extra=False)

    assert made.check({"names": ["x"]}) == {"names": ["x"], "speed": "slow", "to": "a@b"}
    for wrong, words in (
        ({"names": [1]}, "input 'names[0]' must be str, got 1 (int)"),
        ({"names": [], "speed": "x"}, "must be 'fast' or 'slow', got 'x'"),
        ({"names": [], "to": "x"}, "input 'to' is not valid"),
    ):
        with pytest.raises(InvalidInputs, match=re.escape(words)):
            made.check(wrong)
    with pytest.raises(UsageError, match="input 'to' is declared twice"):
        merge_inputs(several, {"to": Input()})


def test_annotations_that_are_evaluated_late_are_told() -> None:
    """As those of Python 3.14, when a signature is asked for."""

    class Late:
        @property
        def __signature__(self) -> Any:
            raise NameError("name 'Order' is not defined")

        def __call__(self) -> None: ...

    with pytest.raises(UsageError, match="an annotation of run can't be read: name 'Order' is not"):
        merge_inputs(Late(), {})


def test_undeclared_inputs_pass_where_the_task_says_so() -> None:
    """`extra_inputs`, or a `run` that takes them all and declares none."""
    assert inputs(extra=True).check({"a": 1}) == {"a": 1}
    with pytest.raises(InvalidInputs):
        inputs().check({"a": 1})


def test_the_id_of_a_tracked_task_is_no_input() -> None:
    """It is stripped before anything is checked."""
    assert inputs().check({"_task_id": "x"}) == {}


def test_what_was_given_is_not_changed() -> None:
    """The caller's dict is the caller's."""
    given = {"to": "A"}

    inputs(to=Input(formatter=str.lower), n=Input(default=1)).check(given)

    assert given == {"to": "A"}


def test_a_default_is_fresh_for_each_run() -> None:
    """What one run does to a list is not seen by the next."""
    made = inputs(tags=Input(default=[]))
    made.check({})["tags"].append("x")

    assert made.check({}) == {"tags": []}
