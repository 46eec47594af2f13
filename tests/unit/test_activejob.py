"""ActiveJob's wrapper, opened and made: what its serializers write, and nothing that decides what code runs."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

from resqpy.base import codec
from resqpy.base.activejob import (
    WRAPPER,
    GlobalID,
    Range,
    Symbol,
    check_readable,
    executions,
    serialized,
    tried_again,
    wrapped,
)
from resqpy.base.errors import InvalidInputs, UsageError
from resqpy.base.job_records import decode_failed
from resqpy.base.json_rules import member_text
from resqpy.base.reading import JobFilter


def _raw(*arguments: Any, name: str = "ReportJob", **facts: Any) -> bytes:
    wrapper = {"job_class": name, "arguments": list(arguments), "executions": 0, **facts}
    return codec.encode_text({"class": WRAPPER, "args": [wrapper]})


def _by(serializer: str, **value: Any) -> dict[str, Any]:
    return {"_aj_serialized": f"ActiveJob::Serializers::{serializer}Serializer", **value}


@pytest.mark.parametrize(
    ("sent", "seen"),
    [
        (_by("Symbol", value="a"), "a"),
        (_by("Date", value="2026-01-02"), "2026-01-02"),
        (_by("Time", value="2026-01-02T03:04:05.678901000Z"), "2026-01-02T03:04:05.678901000Z"),
        (_by("TimeWithZone", value="2026-01-02T03:04:05Z", time_zone="Europe/Berlin"), "2026-01-02T03:04:05Z"),
        (_by("Module", value="Kernel"), "Kernel"),
        (_by("BigDecimal", value="0.15e1"), "0.15e1"),
        (_by("Duration", value=90, parts=[]), "PT90S"),
        (_by("Duration", value=1.5, parts=[]), "PT1.5S"),
        (_by("Duration", value=_by("BigDecimal", value="1.5"), parts=[]), "PT1.5S"),
        (
            _by("Range", begin=_by("Date", value="2026-01-02"), end=None, exclude_end=True),
            {"begin": "2026-01-02", "end": None, "exclude_end": True},
        ),
        (_by("ActionControllerParameters", value={"a": 1, "_aj_hash_with_indifferent_access": True}), {"a": 1}),
        ({"_aj_globalid": "gid://shop/User/17"}, "gid://shop/User/17"),
        ({"a": {"b": 1, "_aj_symbol_keys": []}, "_aj_symbol_keys": ["a"]}, {"a": {"b": 1}}),
        ([[{"a": 1, "_aj_ruby2_keywords": ["a"]}]], [[{"a": 1}]]),
        (1.5, 1.5),
    ],
)  # fmt: skip
def test_what_it_serializes_is_plain_json(sent: Any, seen: Any) -> None:
    """Which a task's type hints read."""
    job = codec.decode_job(_raw(sent), "q")

    assert (job.class_name, job.args) == ("ReportJob", [seen])
    check_readable(job.args)


@pytest.mark.parametrize(
    "sent",
    [
        {"_aj_serialized": "My::Serializer", "value": 1},
        {"_aj_serialized": "ActiveJob::Serializers::ObjectSerializer", "value": 1},
        {"_aj_serialized": 7},
        {"_aj_serialized": "SymbolSerializer", "value": "a"},
        _by("Symbol"),
        _by("Symbol", value=1),
        _by("Duration", value="x"),
        _by("Duration", value=1e300),
        _by("Duration", value=True),
        _by("Duration", value=_by("BigDecimal", value="abc")),
        _by("Duration", value=_by("BigDecimal", value="1e999999")),
        _by("Duration", value=_by("BigDecimal", value="NaN")),
        _by("Duration", value=_by("BigDecimal", value="sNaN")),
        _by("Duration", value=_by("BigDecimal", value="-Infinity")),
        _by("Range", begin=1),
        {"_aj_globalid": "gid://a/B/1", "more": 1},
        {"_aj_globalid": 5},
    ],
)
@pytest.mark.parametrize("inside", [lambda each: each, lambda each: [{"a": each}]])
def test_what_is_unknown_is_refused_by_name_and_shown_as_it_is(sent: Any, inside: Any) -> None:
    """It is found and listed, and does not run."""
    job = codec.decode_job(_raw(1, inside(sent)), "q")

    assert (job.class_name, job.args) == ("ReportJob", [1, inside(sent)])
    with pytest.raises(InvalidInputs, match="argument 1 of the ActiveJob can't be read"):
        check_readable(job.args)


@pytest.mark.parametrize(
    "args", ["[]", "[1]", "[{}]", '[{"job_class":""}]', '[{"job_class":1}]', '[{"job_class":"A"},2]', "null"]
)  # fmt: skip
def test_what_is_no_wrapper_keeps_its_class(args: str) -> None:
    """A job is as it is written."""
    raw = f'{{"class":"{WRAPPER}","args":{args}}}'.encode()

    assert codec.decode_job(raw, "q").class_name == WRAPPER
    assert codec.class_of(raw) == WRAPPER


def test_arguments_that_are_no_list_are_none() -> None:
    """Nothing raises on the way to a list of jobs."""
    raw = b'{"class":"%b","args":[{"job_class":"A","arguments":7}]}' % WRAPPER.encode()

    assert codec.decode_job(raw, "q").args == []


@pytest.mark.parametrize("text", ["[" * 900 + "]" * 900, '{"a":' * 900 + "1" + "}" * 900])
def test_a_failed_one_that_is_nested_too_deeply(text: str) -> None:
    """It is shown as it is."""
    raw = f'{{"class":"{WRAPPER}","args":[{{"job_class":"A","arguments":[{text}]}}]}}'.encode()
    entry = decode_failed(b'{"payload":%b,"queue":"q"}' % raw)

    assert (entry.class_name, len(entry.args), entry.job_raw) == ("A", 1, raw)


def test_a_plain_job_may_say_what_it_likes_beside_its_arguments() -> None:
    """Only a wrapper makes it one of ActiveJob."""
    job = codec.decode_job(b'{"class":"A","args":[{}],"active_job":1}', "q")

    assert (job.wrapper, job.extra) == (None, {"active_job": 1})


def test_it_is_found_by_its_own_class_and_arguments() -> None:
    """Wherever a class stands: waiting jobs, failed ones, filters."""
    raw = _raw(1, _by("Duration", value=90, parts=[]))
    entry = decode_failed(b'{"payload":%b,"queue":"q"}' % raw)

    assert codec.class_of(raw) == "ReportJob"
    assert (entry.class_name, entry.args) == ("ReportJob", [1, "PT90S"])
    assert entry.job_raw == raw
    assert JobFilter.of("ReportJob", [1, "PT90S"]).means(raw, "q")
    assert not JobFilter.of("ReportJob", [1, "PT91S"]).means(raw, "q")
    assert not JobFilter.of(WRAPPER).means(raw, "q")


def test_the_number_of_attempts_is_changed_by_text_alone() -> None:
    """All other bytes stay: numbers, escapes, blanks, the order of keys."""
    odd = '"arguments":[1.0,1152921504606846977,"\\u2028\\/é",{}, [] ]'
    wrapper = f'{{"job_class":"A",{odd},"executions": 41 ,"x":null}}'
    text = f' {{ "queue":"q" , "args": [ {wrapper} ],"class":"{WRAPPER}"}}'
    made = tried_again(text.encode()).decode()

    assert made == text.replace(" 41 ", " 42 ").replace("[ {", "[{").replace("} ],", "}],")
    assert (codec.decode_job(made.encode(), "q").wrapper or {})["executions"] == 42
    null = _raw(executions=None)
    assert tried_again(null) == null.replace(b'"executions":null', b'"executions":1')
    assert tried_again(_raw(executions="x")) == _raw(executions="x")
    most = _raw(executions=int("9" * 4300))  # one more has too many digits for Python
    assert tried_again(most) == most
    assert executions(codec.decode_job(most, "q").wrapper or {}) == 0
    assert tried_again(b'{"class":"A","args":[]}') == b'{"class":"A","args":[]}'


def test_a_delayed_one_keeps_its_class_and_all_its_keys() -> None:
    """With its queue behind all, as Ruby's own delayed ones have it."""
    raw = _raw(1.0)
    job = codec.decode_job(raw, "q")

    assert codec.with_queue(job) == raw[:-1] + b',"queue":"q"}'
    assert member_text(codec.with_queue(job), "args") == member_text(raw, "args")


NOON = datetime(2026, 1, 2, 12, 0, 0, 5, tzinfo=timezone(timedelta(hours=2)))


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        (Symbol("a"), _by("Symbol", value="a")),
        (NOON, _by("Time", value="2026-01-02T10:00:00.000005000Z")),
        (date(2026, 1, 2), _by("Date", value="2026-01-02")),
        (timedelta(minutes=90), _by("Duration", value=5400, parts=[[_by("Symbol", value="seconds"), 5400]])),
        (Decimal("1.50"), _by("BigDecimal", value="1.50")),
        (Range(1, 2, exclude_end=True), _by("Range", begin=1, end=2, exclude_end=True)),
        (GlobalID("shop", "User", "1/2"), {"_aj_globalid": "gid://shop/User/1/2"}),
        ({"a": [Symbol("b")], Symbol("c"): None},
         {"a": [_by("Symbol", value="b")], "c": None, "_aj_symbol_keys": ["c"]}),
        ((1, 2.5, True, "x"), [1, 2.5, True, "x"]),
    ],
)  # fmt: skip
def test_values_are_sent_as_it_serializes_them(value: Any, sent: Any) -> None:
    """And come back as the JSON of that value."""
    assert serialized(value) == sent
    check_readable(codec.decode_job(_raw(sent), "q").args)


@pytest.mark.parametrize(
    "value", [{1: 2}, {"_aj_serialized": "X"}, object(), {1}, NOON.replace(tzinfo=None), b"x"]
)
def test_what_it_has_no_form_for_is_told(value: Any) -> None:
    """Before anything is written; a name of its own can't be smuggled in."""
    with pytest.raises(UsageError):
        serialized(value)


def test_a_wrapper_has_all_that_rails_reads() -> None:
    """Keywords are marked as such."""
    made = wrapped(
        "ReportJob", "q", (1,), {"note": "hi"}, 1_800_000_000_123, 1_800_000_060_000, priority=5
    )

    assert made.pop("job_id").count("-") == 4
    assert made == {
        "job_class": "ReportJob", "provider_job_id": None, "queue_name": "q", "priority": 5,
        "arguments": [1, {"note": "hi", "_aj_ruby2_keywords": ["note"]}], "executions": 0,
        "exception_executions": {}, "locale": None, "timezone": None,
        "enqueued_at": "2027-01-15T08:00:00.123000000Z", "scheduled_at": "2027-01-15T08:01:00.000000000Z",
    }  # fmt: skip


@pytest.mark.parametrize("text", ["", "gid://a/B", "gid:///B/1", "http://a/B/1", 5])
def test_a_text_that_is_no_global_id(text: Any) -> None:
    """Is told as such."""
    with pytest.raises(ValueError, match="gid://"):
        GlobalID.parse(text)
