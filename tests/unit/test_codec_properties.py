"""Whatever JSON allows comes back exactly, and is found in every dialect."""

from __future__ import annotations

import json
import math
from typing import Any

from hypothesis import given, settings, strategies as st

from resqpy.base import activejob, codec, job_records, json_rules
from resqpy.base.errors import InvalidInputs, PayloadError
from resqpy.base.json_rules import depth, explain, member_text, plain, read_strict, replace_member
from resqpy.base.periodic import time_of
from resqpy.base.php import php_status
from resqpy.base.ruby_text import ruby4, ruby5

TEXTS = st.text(st.characters(codec="utf-8"), max_size=20) | st.sampled_from(
    ["", "\u2028", "\0", '"', "\\", "😀", "\x7f", "a/b", "ud800", "\\ud800", "1", "class"]
)
NUMBERS = (
    st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from([1.0, -0.0, 2**64, 2**53 + 1, 10**21, 1e16, 1e15, 1e-5, 5e-324, 1.7e308])
)
SCALARS = st.none() | st.booleans() | NUMBERS | TEXTS
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4)
)
ARGS = st.lists(JSON, max_size=4)
NAMES = TEXTS.filter(bool)


@given(NAMES, TEXTS, ARGS)
def test_a_job_comes_back_exactly(name: str, queue: str, args: list[Any]) -> None:
    """Same values, same types (1 is not 1.0 nor True), same order of keys."""
    job = codec.decode_job(codec.encode_job(name, queue, args), queue)
    assert repr((job.class_name, job.args)) == repr((name, args))


@given(ARGS)
def test_what_is_written_is_strict_json(args: list[Any]) -> None:
    """One line of compact UTF-8 that our own strict reader takes."""
    raw = codec.encode_job("A", "q", args)
    assert b"\n" not in raw
    assert b"NaN" not in raw or "NaN" in repr(args)
    assert read_strict(raw)["args"] == args


@given(ARGS)
def test_the_quick_check_and_the_slow_one_agree(args: list[Any]) -> None:
    """`plain` says yes where `explain` has nothing to say."""
    assert plain(args)
    assert explain(args) is None


@given(ARGS)
def test_all_spellings_mean_the_same(args: list[Any]) -> None:
    """As JavaScript reads them, where numbers are doubles and -0 is written 0."""
    for raw in codec.spellings("A", "q", args):
        found = json.loads(raw)
        assert found["class"] == "A"
        assert _doubles(found["args"]) == _doubles(args)


def _doubles(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _doubles(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_doubles(each) for each in value]
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    return value


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_rubys_floats_read_back(value: float) -> None:
    """Both spellings are floats to JSON, and the same to the last bit."""
    for text in (ruby4(value), ruby5(value)):
        read = json.loads(text)
        assert isinstance(read, float)
        assert read == value
        assert math.copysign(1, read) == math.copysign(1, value)


@given(NUMBERS)
def test_javascripts_numbers_read_back(value: float) -> None:
    """As the double that JavaScript has."""
    assert float(json_rules.number(value)) == float(value)


@given(st.dictionaries(TEXTS, JSON, min_size=1, max_size=5), st.data())
def test_a_member_is_found_with_its_text(data: dict[str, Any], pick: st.DataObject) -> None:
    """With any blanks between; replacing it changes nothing else."""
    name = pick.draw(st.sampled_from(sorted(data)))
    separators = pick.draw(st.sampled_from([(",", ":"), (" , ", " : "), (",\n\t", ":\r ")]))
    raw = json.dumps(data, ensure_ascii=pick.draw(st.booleans()), separators=separators).encode()

    text = member_text(raw, name)

    assert text is not None
    assert repr(json.loads(text)) == repr(data[name])
    assert replace_member(raw, name, text) == raw
    assert json.loads(replace_member(raw, name, b'"new"')) == data | {name: "new"}


@given(st.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode()))
def test_reading_never_raises_anything_else(raw: bytes) -> None:
    """Any bytes as job, record, failed entry or member."""
    assert job_records.decode_failed(raw).raw == raw
    job_records.decode_work("w", raw)
    codec.class_of(raw)
    codec.delayed_queue(raw)
    member_text(raw, "payload")
    try:
        job = codec.decode_job(raw, "q")
    except PayloadError:
        return
    assert job.class_name


SERIALIZERS = st.sampled_from([*activejob._READERS, "NoSerializer", ""])
VALUES = JSON | st.sampled_from(
    [
        "abc",
        "NaN",
        "sNaN",
        "-Infinity",
        "1e999999",
        "1e99999",
        "-0",
        "1_0",
        "gid://a/B/1",
        10**300,
        1e308,
        True,
    ]
)


def _objects(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """What ActiveJob's serializers write, and what resembles it."""
    name = SERIALIZERS.map(f"{activejob._PREFIX}{{}}".format) | VALUES
    members = dict.fromkeys(("value", "begin", "end", "exclude_end", "parts"), inner)
    return (
        st.fixed_dictionaries({"_aj_serialized": name}, optional=members)
        | st.fixed_dictionaries({"_aj_globalid": inner}, optional={"more": inner})
        | st.dictionaries(st.sampled_from([*activejob._RESERVED, "a", "value"]), inner, max_size=3)
        | st.lists(inner, max_size=3)
    )


WRAPPERS = st.fixed_dictionaries(
    {"job_class": st.sampled_from(["A", "", "\0"]) | VALUES},
    optional={
        "arguments": st.lists(st.recursive(VALUES, _objects, max_leaves=8), max_size=3) | VALUES,
        "executions": VALUES | st.sampled_from([int("9" * 4300), -1, 2**53]),
        "exception_executions": VALUES,
        "arguments ": VALUES,
    },
)
ODD_KEYS = st.dictionaries(
    st.sampled_from(
        ["active_job", "id", "prefix", "queue_time", "resqpy_at", "resqpy_expires", "queue"]
    ),
    VALUES,
)


@settings(max_examples=400)
@given(WRAPPERS, ODD_KEYS, st.lists(JSON, max_size=1))
def test_hostile_jobs_of_activejob(wrapper: Any, more: dict[str, Any], behind: list[Any]) -> None:
    """They are read, or can't be; nothing else is raised on their way to a run, a list or a retry."""
    raw = json.dumps({"class": activejob.WRAPPER, "args": [wrapper, *behind], **more}).encode()
    entry = job_records.decode_failed(b'{"payload":%b,"queue":"q"}' % raw)
    assert isinstance(entry.args, list)
    codec.class_of(raw)
    activejob.tried_again(raw)
    try:
        job = codec.decode_job(raw, "q")
        activejob.check_readable(job.args)
    except (PayloadError, InvalidInputs):
        return
    assert job.raw == raw
    assert (job.wrapper is None) == (job.class_name == activejob.WRAPPER)
    codec.with_queue(job)
    php_status(job.extra)
    time_of(job)


@given(JSON)
def test_depth_counts_levels(value: Any) -> None:
    """One more around it is one more."""
    assert depth([value]) == depth(value) + 1


@given(ARGS)
def test_a_record_gives_back_the_bytes(args: list[Any]) -> None:
    """Also where the arguments look like the end of a record."""
    job = codec.encode_job("A", "q", [*args, {"x": 1, "worker": "bob"}])
    record = job_records.work_prefix("q", "2026-11-21T00:27:20.000000Z") + job
    assert job_records.payload_of_work(record + job_records.work_suffix("h:1")) == job
