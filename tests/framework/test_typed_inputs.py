"""Typed inputs: what `run` gets, what is in Redis, and where something is wrong."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence, Set as AbstractSet
from dataclasses import InitVar, dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, Flag, IntEnum, StrEnum
from functools import cached_property
from typing import (
    Annotated,
    Any,
    Generic,
    Literal,
    NamedTuple,
    NewType,
    NotRequired,
    Optional,
    Required,
    TypedDict,
    TypeVar,
    Union,
)
from uuid import UUID

import annotated_types as at
import attrs
import msgspec
import pydantic
import pytest
from hypothesis import given, strategies as st
from typing_extensions import TypeAliasType

from resqpy import Inspector, Queue, converter
from resqpy.base import codec
from resqpy.base.errors import InvalidInputs, UsageError
from resqpy.base.json_forms import OWN, to_json
from resqpy.framework.tasks.hints import reader_of
from resqpy.framework.tasks.inputs import Input, Inputs

T = TypeVar("T")
BERLIN = timezone(timedelta(hours=1))
NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)
ID = UUID("0B5CF0F6-6A29-4A43-9B3F-0C8F0A3E4D11")


class Color(Enum):
    RED = "red"
    BLUE = "blue"


class Size(StrEnum):
    SMALL = "s"


class Level(IntEnum):
    LOW = 1


class Rights(Flag):
    READ = 1
    WRITE = 2


@dataclass(frozen=True)
class Item:
    name: str
    qty: int = 1


@dataclass
class Ge:  # as annotated_types.Ge, with any bound
    ge: Any


@dataclass
class Pattern:
    pattern: str


@dataclass
class Odd:
    """Its code is broken."""

    n: int

    def __getattribute__(self, name: str) -> Any:
        if name == "n":
            raise KeyError("odd")
        return super().__getattribute__(name)

    def __le__(self, other: Any) -> bool:
        raise KeyError("odd")


@dataclass
class Doubled:
    cents: int

    def __post_init__(self) -> None:
        self.cents *= 2


@attrs.define
class Longer:
    name: str

    def __attrs_post_init__(self) -> None:
        self.name += "!"


@dataclass
class Stripped:
    """Changes what it is given, but nothing when it is given that again."""

    name: str
    tags: Sequence[str] = ()

    def __post_init__(self) -> None:
        self.name, self.tags = self.name.strip(), tuple(self.tags)


@dataclass
class Order:
    id: UUID
    items: list[Item]
    paid: datetime | None = None
    notes: dict[str, Any] = field(default_factory=dict)
    total: Decimal = field(init=False, default=Decimal(0))


@dataclass
class Node:
    value: int
    children: list[Node] = field(default_factory=list)


@dataclass
class Page(Generic[T]):
    rows: list[T]
    next: T | None = None


class Point(NamedTuple):
    x: float
    y: float = 0.0


class Address(TypedDict):
    street: str
    since: NotRequired[date]


class Loose(TypedDict, total=False):
    at: Required[datetime]
    note: str


@attrs.define
class Car:
    _plate: str
    built: date = date(2020, 1, 1)


class Pet(pydantic.BaseModel):
    name: str
    born: date
    tags: set[str] = set()
    kind: str = pydantic.Field("cat", alias="type")


class Trip(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid")
    start: date
    end: date
    _seen: int = pydantic.PrivateAttr(default=1)

    @pydantic.computed_field  # type: ignore[prop-decorator]  # as pydantic's page has it
    @property
    def nights(self) -> int:
        return (self.end - self.start).days

    @cached_property
    def days(self) -> int:
        return self.nights + 1


class Hidden(pydantic.BaseModel):
    token: int = pydantic.Field(0, exclude=True)


class Tag(msgspec.Struct):
    name: str
    at: datetime
    among: set[str] = set()


class Plan(pydantic.BaseModel, frozen=True):
    model_config = pydantic.ConfigDict(strict=True)
    days: frozenset[date]
    ids: dict[str, UUID]


@dataclass(frozen=True)
class Card:
    kind: Literal["card"]
    number: int


@dataclass(frozen=True)
class Bank:
    kind: Literal["bank"]
    number: int


UserId = NewType("UserId", int)
Days = TypeAliasType("Days", list[date])
Tree = TypeAliasType("Tree", "dict[str, Tree] | date")
Pair = TypeAliasType("Pair", tuple[T, T], type_params=(T,))

# A hint, a value as `run` gets it, and what is in Redis.
FORMS: list[tuple[Any, Any, Any]] = [
    (datetime, NOON, "2026-11-29T12:00:00Z"),
    (datetime, NOON.replace(microsecond=250_000), "2026-11-29T12:00:00.250Z"),
    (datetime, NOON.replace(microsecond=500), "2026-11-29T12:00:00.000500Z"),
    (date, date(2026, 11, 29), "2026-11-29"),
    (time, time(9), "09:00:00"),
    (time, time(9, 0, 0, 1), "09:00:00.000001"),
    (timedelta, timedelta(seconds=90), "PT90S"),
    (timedelta, timedelta(days=1, milliseconds=250), "PT86400.25S"),
    (timedelta, -timedelta(microseconds=1), "-PT0.000001S"),
    (UUID, ID, "0b5cf0f6-6a29-4a43-9b3f-0c8f0a3e4d11"),
    (Decimal, Decimal("12.30"), "12.30"),
    (Decimal, Decimal("1E+3"), "1E+3"),
    (Color, Color.RED, "red"),
    (Size, Size.SMALL, "s"),
    (Level, Level.LOW, 1),
    (Rights, Rights.READ | Rights.WRITE, 3),
    (Item, Item("a", 2), {"name": "a", "qty": 2}),
    (Node, Node(1, [Node(2)]), {"value": 1, "children": [{"value": 2, "children": []}]}),
    (Page[date], Page([date(2026, 1, 2)]), {"rows": ["2026-01-02"], "next": None}),
    (Point, Point(1, 2), {"x": 1, "y": 2}),
    (Address, {"street": "x"}, {"street": "x"}),
    (Address, {"street": "x", "since": date(2026, 1, 2)}, {"street": "x", "since": "2026-01-02"}),
    (Loose, {"at": NOON}, {"at": "2026-11-29T12:00:00Z"}),
    (Car, Car("B-1"), {"plate": "B-1", "built": "2020-01-01"}),
    (
        Pet,
        Pet(name="a", born=date(2026, 1, 2), tags={"y", "x", "z"}, type="dog"),
        {"name": "a", "born": "2026-01-02", "tags": ["x", "y", "z"], "type": "dog"},
    ),
    (list[Pet], [Pet(name="a", born=date(2026, 1, 2), type="cat")],
     [{"name": "a", "born": "2026-01-02", "tags": [], "type": "cat"}]),
    (Plan, Plan(days=frozenset({date(2026, 1, 3), date(2026, 1, 2)}), ids={"a": ID}),
     {"days": ["2026-01-02", "2026-01-03"], "ids": {"a": str(ID)}}),
    (Tag, Tag("a", NOON, {"y", "x"}), {"name": "a", "at": "2026-11-29T12:00:00Z", "among": ["x", "y"]}),
    (dict[str, Tag], {"b": Tag("a", NOON)},
     {"b": {"name": "a", "at": "2026-11-29T12:00:00Z", "among": []}}),
    (Annotated[int, msgspec.Meta(gt=1)], 2, 2),
    (Annotated[str, pydantic.StringConstraints(to_lower=True)], "a", "a"),
    (pydantic.HttpUrl, pydantic.HttpUrl("https://a.b/"), "https://a.b/"),
    (Literal["a", Color.RED], Color.RED, "red"),
    (Optional[datetime], None, None),  # noqa: UP045 - also this spelling
    (datetime | None, NOON, "2026-11-29T12:00:00Z"),
    (Union[UUID, int], 5, 5),  # noqa: UP007 - also this spelling
    (int | timedelta, 5, 5),
    (timedelta | float, timedelta(seconds=5), "PT5S"),
    (Decimal | float, 5, 5),
    (int | Level, Level.LOW, 1),
    (str | UUID, ID, str(ID)),
    (str | UUID, "not one", "not one"),
    (Card | Bank, Bank("bank", 5), {"kind": "bank", "number": 5}),
    (date | datetime, NOON, "2026-11-29T12:00:00Z"),
    (list[datetime], [NOON], ["2026-11-29T12:00:00Z"]),
    (Sequence[date], [date(2026, 1, 2)], ["2026-01-02"]),
    (tuple[int, date], (1, date(2026, 1, 2)), [1, "2026-01-02"]),
    (tuple[date, ...], (date(2026, 1, 2),), ["2026-01-02"]),
    (set[str], {"b", "a"}, ["a", "b"]),
    (frozenset[int | str], frozenset({2, "a"}), ["a", 2]),
    (AbstractSet[Item], {Item("b"), Item("a")}, [{"name": "a", "qty": 1}, {"name": "b", "qty": 1}]),
    (dict[str, Decimal], {"a": Decimal("1.0")}, {"a": "1.0"}),
    (dict[int, str], {1: "a"}, {"1": "a"}),
    (Mapping[UUID, Item], {ID: Item("a")}, {str(ID): {"name": "a", "qty": 1}}),
    (dict[Color, int], {Color.RED: 1}, {"red": 1}),
    (Annotated[Decimal, at.Ge(0)], Decimal(1), "1"),
    (Annotated[list[date], at.Len(1, 2)], [date(2026, 1, 2)], ["2026-01-02"]),
    (UserId, UserId(5), 5),
    (Days, [date(2026, 1, 2)], ["2026-01-02"]),
    (Tree, {"a": {"b": date(2026, 1, 2)}}, {"a": {"b": "2026-01-02"}}),
    (Pair[date], (date(2026, 1, 2), date(2026, 1, 3)), ["2026-01-02", "2026-01-03"]),
]  # fmt: skip


@pytest.mark.parametrize(("hint", "value", "json"), FORMS)
def test_each_form_is_written_and_read(hint: Any, value: Any, json: Any) -> None:
    """What the caller gives, and what is in Redis, are read as the same value of the same type."""
    inputs = Inputs("t", {"x": Input(type=hint)}, extra=False)

    for each in (value, json):
        made = inputs.check({"x": each})["x"]
        assert (made, type(made)) == (value, type(value))
        assert inputs.as_sent({"x": each}) == {"x": json}
    assert list(inputs.json_schema()["properties"]) == ["x"]


async def test_each_form_comes_back_from_redis(redis_url: str) -> None:
    """All of them, in one queue."""
    known = [Inputs("t", {"x": Input(type=hint)}, extra=False) for hint, *_ in FORMS]
    async with Queue(redis_url) as queue:
        sent = [
            each.as_sent({"x": value}) for each, (_, value, _) in zip(known, FORMS, strict=True)
        ]
        await queue.enqueue_many([("q", "t", [each]) for each in sent])
        jobs = await Inspector(queue).queued("q", 0, -1)
    got = [each.check(job.args[0])["x"] for each, job in zip(known, jobs, strict=True)]

    assert got == [value for _, value, _ in FORMS]


@pytest.mark.parametrize(
    ("hint", "json", "value"),
    [
        (datetime, "2026-11-29T13:00:00+01:00", NOON),
        (datetime, "2026-11-29 12:00:00.123456789Z", NOON.replace(microsecond=123_456)),
        (datetime, "2026-11-29t12:00z", NOON),
        (timedelta, 1500, timedelta(seconds=1.5)),
        (timedelta, "P1DT2H3M4.5S", timedelta(days=1, hours=2, minutes=3, seconds=4.5)),
        (timedelta, "PT-5S", timedelta(seconds=-5)),
        (timedelta, "P2W", timedelta(weeks=2)),
        (Decimal, 5, Decimal(5)),
        (Decimal, "0.123e2", Decimal("12.3")),
        (UUID, str(ID).upper(), ID),
        (Point, [1, 2], Point(1, 2)),
    ],
)
def test_what_others_write_is_read(hint: Any, json: Any, value: Any) -> None:
    """Offsets, ActiveJob's fractions, ActiveSupport's durations, numbers of milliseconds."""
    assert reader_of(hint).read(json) == value


@pytest.mark.parametrize(
    ("hint", "value", "words"),
    [
        (datetime, datetime(2026, 11, 29), "'x' is not valid: .*has no time zone: use datetime"),  # noqa: DTZ001
        (datetime, "2026-11-29T12:00:00", "'x' must be a datetime .*with its offset or Z, got"),
        (datetime, "tomorrow", "'x' must be a datetime such as .*, got 'tomorrow' "),
        (datetime, 5, "'x' must be a datetime .*, got 5 "),
        (date, NOON, "'x' must be a date such as '2026-11-29', got "),
        (date, "2026-13-01", "'x' must be a date"),
        (time, "25:00", "'x' must be a time of day"),
        (timedelta, "P1M", "'x' must be a duration such as 'PT90S', or milliseconds, got 'P1M'"),
        (timedelta, True, "'x' must be a duration"),
        (timedelta, 10**30, "'x' must be a duration"),
        (UUID, "5", "'x' must be a UUID such as"),
        (Decimal, 1.5, "'x' must be a decimal number as text, such as '12.30', got 1.5 .float"),
        (Decimal, Decimal("nan"), "'x' is not valid: .*NaN.* is no number"),
        (Color, "green", "'x' must be 'red' or 'blue', got 'green'"),
        (Level, True, "'x' must be 1, got True"),
        (list[Item], [{"name": "a"}, {"name": "b", "qty": "2"}], r"'x\[1\].qty' must be int, got '2'"),
        (list[Item], [{"qty": 1}], r"'x\[0\].name' is required"),
        (list[Item], [{"name": "a", "qyt": 1}], r"'x\[0\].qyt' is unknown; did you mean 'qty'"),
        (list[Item], [5], r"'x\[0\]' must be Item, got 5"),
        (dict[str, date], {"a": "b"}, "'x.a' must be a date"),
        (dict[int, str], {"a": "b"}, "'x.a' must have keys of int, got 'a'"),
        (tuple[int, date], [1, 2], r"'x\[1\]' must be a date"),
        (Address, {"street": 1}, "'x.street' must be str, got 1"),
        (Loose, {}, "'x.at' is required"),
        (Order, {"id": str(ID), "items": [], "total": 1}, "'x.total' is unknown"),
        (Order, Order(ID, [], None, {"a": NOON}), "'x.notes.a' must be text, .*must be declared"),
        (Order | None, {"id": 5, "items": []}, "'x.id' must be a UUID"),
        (Card | int, {"kind": "bank", "number": 1}, "'x.kind' must be 'card', got 'bank'"),
        (int | date, "x", r"'x' must be int \| .*date, got 'x'"),
        (Pet, {"name": "a"}, "'x.born' is not valid: Field required"),
        (list[Pet], [{"name": 5, "born": "2026-01-02"}], r"'x\[0\].name' is not valid: .*, got 5"),
        (Hidden, Hidden(token=5), "'x' would lose something on its way"),
        (Pet, {"name": "\ud800", "born": "2026-01-02"}, "'x' has a lone surrogate"),
        (Address, {"street": "x", "more": NOON}, "'x.more' must be text, .*must be declared"),
        (pydantic.SecretStr, pydantic.SecretStr("a"), "'x' would lose something"),
        (list[Tag], [{"name": "a", "at": 5}], r"'x\[0\].at' is not valid: Expected `datetime`, got `int`, got 5"),
        (Tag, {"name": "a"}, "'x' is not valid: Object missing required field `at`"),
        (Annotated[int, msgspec.Meta(gt=1)], 1, "'x' is not valid: Expected `int` >.*, got 1"),
        (set[Any], [[1]], "'x' must be set.*unhashable"),
        (Annotated[int, at.Gt(1)], 1, "'x' must be greater than 1, got 1"),
        (Annotated[int, at.Interval(ge=1, lt=3)], 3, "'x' must be less than 3, got 3"),
        (Annotated[int, at.Le(1)], 2, "'x' must be at most 1"),
        (Annotated[int, at.MultipleOf(5)], 6, "'x' must be a multiple of 5, got 6"),
        (Annotated[str, at.MinLen(2)], "a", "'x' must be of a length of at least 2, got 'a'"),
        (list[Annotated[str, at.MaxLen(2)]], ["abc"], r"'x\[0\]' must be of a length of at most 2"),
        (Annotated[Decimal, at.MultipleOf(Decimal("0.1"))], "1E+9999", "'x' must be a multiple of"),
        (Point, [1, 2, 3], r"'x' must be Point, got \[1, 2, 3\]"),
        (tuple[()], [1], r"'x' must be tuple\[\(\)\], got \[1\]"),
        (dict[int, str], {5: "a", "5": "b"}, "'x.5' is there twice, written in two ways"),
        (dict[UUID, int], {str(ID): 1, str(ID).upper(): 2}, "'x.[-0-9A-F]*' is there twice"),
        (Odd, Odd(1), "'x' is not valid: KeyError: 'odd'"),
        (Annotated[int, Ge("a")], 1, "'x' must be at least 'a', got 1"),
        (Annotated[int, Ge(Odd(1))], 1, "'x' is not valid: KeyError: 'odd'"),
        (Annotated[str, re.compile("^a+$")], "b", r"'x' must be a text that matches '\^a\+\$', got"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_place(hint: Any, value: Any, words: str) -> None:
    """The place, the value, and what is expected."""
    inputs = Inputs("t", {"x": Input(type=hint)}, extra=False)

    for refuse in (inputs.check, inputs.as_sent):
        with pytest.raises(InvalidInputs, match=f"task 't': input {words}"):
            refuse({"x": value})
    assert not inputs.fits("x", value)


@pytest.mark.parametrize(
    ("hint", "value"),
    [
        (Doubled, Doubled(2)),
        (Doubled, {"cents": 2}),
        (list[Doubled | None], [Doubled(2), None]),
        (dict[str, Car | Longer], {"a": Longer("a")}),
    ],
)
def test_a_record_that_changes_with_each_making_is_refused(hint: Any, value: Any) -> None:
    """`run` would get another value than the caller gave, and a retry of what it saved yet another."""
    inputs = Inputs("t", {"x": Input(type=hint)}, extra=False)
    with pytest.raises(InvalidInputs, match="input 'x' would arrive as another value") as raised:
        inputs.as_sent({"x": value})
    assert list(raised.value.fields) == ["x"]


def test_a_record_may_change_what_it_is_given_once() -> None:
    """What is sent is what it made of it."""
    inputs = Inputs("t", {"x": Input(type=Stripped)}, extra=False)
    sent = inputs.as_sent({"x": {"name": " a ", "tags": ["b"]}})
    assert (
        sent == inputs.as_sent({"x": Stripped("a", ["b"])}) == {"x": {"name": "a", "tags": ["b"]}}
    )
    assert inputs.check(sent) == {"x": Stripped("a", ["b"])}


def test_what_a_converter_raises_is_told() -> None:
    """At the enqueue, with the input."""
    converter(Odd, to_json=lambda odd: odd.n, from_json=Odd)
    try:
        inputs = Inputs("t", {"x": Input(type=list[Odd])}, extra=False)
        with pytest.raises(InvalidInputs, match="input 'x' is not valid: KeyError: 'odd'"):
            inputs.as_sent({"x": [Odd(1)]})
    finally:
        del OWN[Odd]


def test_decimal_multiples_are_counted_in_decimals() -> None:
    """Floats would say that 0.3 is no multiple of 0.1; None is no number."""
    inputs = Inputs(
        "t", {"x": Input(type=Annotated[float | None, at.MultipleOf(0.1)])}, extra=False
    )
    assert inputs.check({"x": 0.3}) == {"x": 0.3}
    assert inputs.check({"x": None}) == {"x": None}
    assert not inputs.fits("x", 0.35)


def test_all_that_is_wrong_in_a_record_is_told_and_no_secret() -> None:
    """Of a field whose name is hidden the type alone."""

    @dataclass
    class Login:
        user: int
        password: int

    Login.__annotations__ = {"user": int, "password": int}
    inputs = Inputs("t", {"x": Input(type=Login)}, extra=False)
    with pytest.raises(InvalidInputs) as raised:
        inputs.check({"x": {"user": "a", "password": "tiger"}})

    assert str(raised.value) == (
        "task 't': input 'x.user' must be int, got 'a' (str); input 'x.password' must be int, got a str"
    )


def test_no_field_of_a_record_is_told_that_is_hidden() -> None:
    """Where another record is given than is declared."""
    login = dataclasses.make_dataclass("Login", [("password", str), ("n", int)])("tiger", 5)
    inputs = Inputs("t", {"x": Input(type=Item)}, extra=False)
    with pytest.raises(InvalidInputs) as raised:
        inputs.check({"x": login})

    assert "tiger" not in str(raised.value)
    assert "must be Item, got {'password': '[FILTERED]', 'n': 5} (Login)" in str(raised.value)


def test_a_member_of_a_union_that_would_arrive_as_another_is_refused() -> None:
    """Two records that look alike in JSON."""

    @dataclass
    class Other:
        name: str
        qty: int = 1

    Other.__annotations__ = {"name": str, "qty": int}
    inputs = Inputs("t", {"x": Input(type=Item | Other)}, extra=False)
    with pytest.raises(InvalidInputs, match="is a Other that would arrive as a Item"):
        inputs.as_sent({"x": Other("a")})


def test_a_task_of_jsons_types_converts_nothing() -> None:
    """No input of it is typed, and what is enqueued is what was given."""
    plain = [str, int, float, bool, None, Any, list, list[int], dict[str, Any], Literal["a", 1],
             str | None, Annotated[int, at.Gt(0)], UserId]  # fmt: skip
    inputs = Inputs("t", {f"x{n}": Input(type=each) for n, each in enumerate(plain)}, extra=False)
    value = [1, 2]

    assert inputs.typed == ()
    assert inputs.as_sent({"x6": value})["x6"] is value
    assert Inputs("t", {"x": Input(type=date), "y": Input(type=int)}, extra=False).typed == ("x",)


def test_what_a_model_keeps_beside_its_fields_is_not_sent() -> None:
    """What is computed, cached or private."""
    trip = Trip(start=date(2026, 1, 2), end=date(2026, 1, 4))
    trip._seen = trip.days
    inputs = Inputs("t", {"x": Input(type=Trip)}, extra=False)

    assert inputs.as_sent({"x": trip}) == {"x": {"start": "2026-01-02", "end": "2026-01-04"}}
    assert inputs.check(inputs.as_sent({"x": trip}))["x"].nights == 2


def test_a_default_that_is_no_json_is_in_no_schema() -> None:
    """It would be another text in each process, and make the inputs another version."""
    declared = {
        "a": Input(type=date | None, default=object()),
        "b": Input(type=datetime, default=datetime(2026, 1, 2)),  # noqa: DTZ001
        "c": Input(type=date, default=lambda: date(2026, 1, 2)),
    }
    made = [Inputs("t", declared, extra=False) for _ in range(2)]

    assert not any("default" in each for each in made[0].json_schema()["properties"].values())
    assert made[0].version == made[1].version


def test_a_default_that_is_json_is_converted_too() -> None:
    """When the project is loaded; one that does not fit is told then."""
    declared = {
        "day": Input(type=date, default="2026-01-02"),
        "items": Input(type=list[Item], default=[{"name": "a"}]),
        "at": Input(type=datetime, default=None),
    }
    made = Inputs("t", declared, extra=False).check({})

    assert made == {"day": date(2026, 1, 2), "items": [Item("a")], "at": None}
    with pytest.raises(UsageError, match="input 'day' has the default 'now': it must be a date"):
        Inputs("t", {"day": Input(type=date, default="now")}, extra=False)


def test_a_formatter_gets_what_is_in_redis() -> None:
    """It was there before types were: it converts."""
    inputs = Inputs("t", {"x": Input(type=date, formatter=date.fromisoformat)}, extra=False)

    assert inputs.check({"x": "2026-01-02"}) == {"x": date(2026, 1, 2)}
    assert inputs.as_sent({"x": "2026-01-02"}) == {"x": "2026-01-02"}


class Money:
    """A user's own class."""

    def __init__(self, cents: int) -> None:
        self.cents = cents


@pytest.fixture
def money() -> Iterator[None]:
    """It has a converter."""
    converter(Money, to_json=lambda money: money.cents, from_json=_money)
    yield
    del OWN[Money]


def _money(cents: Any) -> Money:
    if cents < 0:
        raise ValueError("it is less than nothing")
    return Money(cents)


@pytest.mark.usefixtures("money")
def test_a_users_type_has_a_converter() -> None:
    """Alone and within others; its error is told with its place."""
    inputs = Inputs("t", {"x": Input(type=list[Money])}, extra=False)

    assert inputs.as_sent({"x": [Money(5)]}) == {"x": [5]}
    assert [each.cents for each in inputs.check({"x": [5]})["x"]] == [5]
    with pytest.raises(InvalidInputs, match=r"'x\[0\]' is not a valid Money: it is less than noth"):
        inputs.check({"x": [-5]})


def test_a_converter_is_made_of_a_type_and_two_functions() -> None:
    """What is wrong with it is told."""
    wrong: Any = "Money"
    with pytest.raises(UsageError, match="'Money' is not a type"):
        converter(wrong, to_json=str, from_json=str)
    with pytest.raises(UsageError, match="Money: from_json is 'Money', not a function"):
        converter(Money, to_json=str, from_json=wrong)


@dataclass
class WithInitVar:
    a: InitVar[int]


class Shapes(Enum):
    A = (1, 2)


@pytest.mark.parametrize(
    ("hint", "words"),
    [
        (bytes, "is a bytes, which JSON can't represent"),
        (Money, "is a Money, which JSON can't represent; .*call resqpy.converter"),
        (list[bytes], "is a bytes"),
        (WithInitVar, "is the dataclass WithInitVar, whose 'a' no value of it keeps"),
        (Shapes, "is the enum Shapes, whose values JSON can't represent"),
        (dict[tuple[int, int], int], "has keys of tuple.*but JSON has only text keys"),
        (dict[float, int], "has keys of float"),
        (
            Annotated[str, Pattern("(")],
            r"has the constraint pattern='\(', which no value can meet: missing",
        ),
        (
            Annotated[int, at.MultipleOf(0)],
            "has the constraint multiple_of=0, which no value can meet",
        ),
    ],
)
def test_what_has_no_form_is_refused_when_the_project_is_loaded(hint: Any, words: str) -> None:
    """With what to do."""
    with pytest.raises(UsageError, match=f"input 'x' {words}"):
        Inputs("t", {"x": Input(type=hint)}, extra=False)


def test_the_version_of_inputs_knows_the_fields_of_records() -> None:
    """A worker with older code leaves jobs with a new field to the others."""
    made = [dataclasses.make_dataclass("R", [("a", int), *more]) for more in ([], [("b", int, 1)])]
    versions = {Inputs("t", {"x": Input(type=each)}, extra=False).version for each in made}

    assert len(versions) == 2


ZONES = st.integers(-23, 23).map(lambda hours: timezone(timedelta(hours=hours)))
VALUES: dict[Any, st.SearchStrategy[Any]] = {
    datetime: st.datetimes(datetime(2, 1, 1), datetime(9998, 1, 1), timezones=ZONES),  # noqa: DTZ001
    date: st.dates(),
    time: st.times(),
    timedelta: st.timedeltas(),
    UUID: st.uuids(),
    Decimal: st.decimals(allow_nan=False, allow_infinity=False),
    set[int]: st.sets(st.integers()),
    dict[int, timedelta]: st.dictionaries(st.integers(), st.timedeltas()),
}


@pytest.mark.parametrize("hint", VALUES)
def test_any_value_comes_back(hint: Any) -> None:
    """Whatever its sign, size, fraction or zone."""
    reader = reader_of(hint)

    @given(VALUES[hint])
    def back(value: Any) -> None:
        raw = codec.encode_job("t", "q", [to_json(value)])
        [json] = codec.decode_job(raw, "q").args
        assert reader.read(json) == value

    back()
