"""Payloads as each side writes them, and what is refused."""

from __future__ import annotations

import base64
import json
from collections import OrderedDict
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import IntEnum, StrEnum
from typing import Any, NamedTuple
from uuid import UUID

import pytest

from resqpy.base import codec, job_records
from resqpy.base.errors import InvalidJob, PayloadError
from resqpy.base.keys import check_queue_name
from resqpy.base.model import Job
from tests.support.recordings import recorded_table, recorded_values

ROWS = {row["value"]: row for row in recorded_table("json-writing")["rows"]}

# What each row of the recorded table is in Python; the rest is written only in other languages.
VALUES: dict[str, Any] = {
    "1.0": 1.0, "100.0": 100.0, "0.1": 0.1, "1/3": 1 / 3, "123456789.12345679": 123456789.12345679,
    "1e15": 1e15, "1e16": 1e16, "1e20": 1e20, "1e21": 1e21, "1e22": 1e22, "1.5e300": 1.5e300,
    "1e-4": 1e-4, "1e-5": 1e-5, "1e-6": 1e-6, "1e-7": 1e-7, "-0.0": -0.0, "5e-324": 5e-324,
    "2**53": 2**53, "2**53+1": 2**53 + 1, "2**63": 2**63, "10**21": 10**21, "10**30": 10**30,
    "e-acute": "é", "emoji": "😀", "slash": "a/b", "backslash, quote": '\\"', "<>&'": "<>&'",
    "U+2028 U+2029": "\u2028\u2029", "U+0000 U+0001 U+001F": "\0\1\x1f",
    "\\b \\t \\n \\f \\r \\v": "\b\t\n\f\r\v", "U+007F U+0080": "\x7f\x80",
    "U+FEFF U+FFFF": "\ufeff\uffff", "{} []": [{}, []],
    "keys b,a,2,1": {"b": 1, "a": 2, "2": 3, "1": 4}, "null true false": [None, True, False],
}  # fmt: skip


# -- writing --


def test_a_job_is_written_as_node_writes_it() -> None:
    """Compact, raw UTF-8, the keys in Node's order."""
    raw = codec.encode_job("Écho", "q é", [1, {"a": []}, "\u2028😀"])
    assert raw == '{"class":"Écho","queue":"q é","args":[1,{"a":[]},"\u2028😀"]}'.encode()


def test_the_table_is_whole() -> None:
    """Every row of the recorded table is tried here, but for what Python can't or may not write."""
    assert set(ROWS) - set(VALUES) == {"lone surrogate", "NaN", "Infinity"}


@pytest.mark.parametrize("name", VALUES)
def test_ours_is_read_alike(name: str) -> None:
    """What we write is a JSON text that gives the same value to all."""
    text = codec.encode_args([VALUES[name]])
    assert json.loads(text) == [VALUES[name]]
    if not isinstance(VALUES[name], float):
        assert text == f"[{ROWS[name]['rb4']}]" == f"[{ROWS[name]['rb5']}]"


@pytest.mark.parametrize("name", VALUES)
@pytest.mark.parametrize("side", ["rb4", "rb5", "node"])
def test_every_spelling_is_looked_up(side: str, name: str) -> None:
    """Trap 18: the text of a value in any language is among the spellings, in any key order."""
    args = f"[{ROWS[name][side]}]"
    texts = codec.spellings("A", "q", [VALUES[name]])
    for text in (
        f'{{"class":"A","queue":"q","args":{args}}}',
        f'{{"class":"A","args":{args}}}',
        f'{{"class":"A","args":{args},"queue":"q"}}',
    ):
        assert text.encode() in texts
    assert texts[0] == codec.encode_job("A", "q", [VALUES[name]])
    assert len(set(texts)) == len(texts)


@pytest.mark.parametrize("name", VALUES)
def test_lock_keys_print_as_javascript(name: str) -> None:
    """A lock that Node took holds for us."""
    assert codec.lock_args([VALUES[name]]) == f"[{ROWS[name]['node']}]"


class _Point(NamedTuple):
    x: int
    y: float


class _Level(IntEnum):
    HIGH = 3


class _Name(StrEnum):
    ADA = "ada"


class _Text(str):
    __slots__ = ()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (_Point(1, 2.0), "[1,2.0]"),
        (_Level.HIGH, "3"),
        (_Name.ADA, '"ada"'),
        (_Text("é"), '"é"'),
        (OrderedDict(b=1, a=(2,)), '{"b":1,"a":[2]}'),
        ((), "[]"),
        (True, "true"),
    ],
)
def test_subclasses_of_plain_types(value: Any, text: str) -> None:
    """They are written as JSON has them, and found again."""
    assert codec.encode_args([value]) == f"[{text}]"
    assert codec.encode_job("A", "q", [value]) in codec.spellings("A", "q", json.loads(f"[{text}]"))


def deep(levels: int) -> list[Any]:
    """So many lists, one in the other."""
    value: list[Any] = []
    for _ in range(levels - 1):
        value = [value]
    return value


LONG = 10**400


@pytest.mark.parametrize(
    ("args", "place"),
    [
        ([{"when": datetime(2026, 1, 1, tzinfo=UTC)}], r"args\[0\]\.when: datetime"),
        ([[date(2026, 1, 1)]], r"args\[0\]\[0\]: date"),
        ([1, Decimal("1.1")], r"args\[1\]: Decimal"),
        ([UUID(int=1)], r"args\[0\]: UUID"),
        ([b"raw"], r"args\[0\]: bytes"),
        ([{1, 2}], r"args\[0\]: set"),
        pytest.param([object()], r"args\[0\]: object", id="object"),
        ([{"a": {"b": float("nan")}}], r"args\[0\]\.a\.b: nan"),
        ([float("-inf")], r"args\[0\]: -inf"),
        (["a\ud800"], r"args\[0\]: '\\ud800'"),
        ([{"a\udfff": 1}], r"args\[0\]: the key 'a\\udfff': '\\udfff'"),
        ([{1: "a"}], r"args\[0\]: the key 1"),
        ([{None: "a"}], r"args\[0\]: the key None"),
        ([LONG], r"args\[0\]: "),
        ([[-LONG]], r"args\[0\]\[0\]: "),
        (deep(98), r"97"),
        ("text", "args: .*str"),
        ({"a": 1}, "args: .*dict"),
        (None, "args: .*NoneType"),
    ],
    ids=repr,
)  # fmt: skip
def test_refusals_name_the_place(args: Any, place: str) -> None:
    """What a Ruby or Node worker could not read is refused, and the error says where it is."""
    with pytest.raises(InvalidJob, match=place):
        codec.encode_job("A", "q", args)


def test_a_value_that_contains_itself() -> None:
    """It ends, with an error."""
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(InvalidJob):
        codec.encode_args(loop)


@pytest.mark.parametrize("name", ["", None, 5, "a\ud800"])
def test_a_task_name_is_a_text(name: Any) -> None:
    """Ruby's worker dies of others, or swallows the job."""
    with pytest.raises(InvalidJob, match="task name"):
        codec.encode_job(name, "q", [])


def test_a_job_has_a_size() -> None:
    """The limit is 16 MiB."""
    with pytest.raises(InvalidJob, match=str(codec.MAX_PAYLOAD)):
        codec.encode_job("A", "q", ["x" * codec.MAX_PAYLOAD])


def test_the_deepest_job_survives_its_failed_entry() -> None:
    """97 levels of arguments, the job, the failed entry: 99, which Ruby still reads."""
    raw = codec.encode_job("A", "q", deep(97))
    entry = job_records.encode_failed(
        job_json=raw, queue="q", worker="w", exception="E", error="", backtrace=[], failed_at=""
    )
    assert entry.count(b"[") + entry.count(b"{") - 1 == 99  # the backtrace is beside it
    assert codec.decode_job(raw, "q").args == deep(97)


# -- reading --

ODD_ARGS = {b'"str"': PayloadError, b"\\ud800": PayloadError}


@pytest.mark.parametrize("name", recorded_values("job"))
def test_recorded_jobs(name: str) -> None:
    """Every job that Ruby or Node wrote is read, and keeps its text."""
    raw = recorded_values("job")[name]
    if any(mark in raw for mark in ODD_ARGS):
        with pytest.raises(PayloadError):
            codec.decode_job(raw, "q")
        return
    data = json.loads(raw)
    job = codec.decode_job(raw, "from here")
    assert (job.raw, job.queue, job.class_name) == (raw, "from here", data["class"])
    args = data.get("args")
    assert job.args == (args if isinstance(args, list) else [args] if args else [])
    assert job.extra == {k: v for k, v in data.items() if k not in ("class", "queue", "args")}


@pytest.mark.parametrize(
    ("name", "args"),
    [("extra keys", [1]), ("json_class key in args", [{"json_class": "String", "raw": [97]}]),
     ("duplicate keys", [2])],
)  # fmt: skip
def test_odd_jobs_that_everybody_reads(name: str, args: list[Any]) -> None:
    """Nothing is wrong with them."""
    assert codec.decode_job(recorded_values("poison")[name], "q").args == args


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("not JSON", "can't be read"), ("empty string", "can't be read"),
        ("NaN", "NaN is not JSON"), ("Infinity", "-Infinity is not JSON"),
        ("lone surrogate escape", "lone surrogate"), ("1e400", "beyond the range"),
        ("JSON array", "a JSON list"), ("JSON null", "a JSON null"),
        ("JSON number", "a JSON number"), ("JSON string", "a JSON text"),
        ("no class", "class is a JSON null"), ("class null", "class is a JSON null"),
        ("class not a string", "class is a JSON number"), ("class empty", "class is empty"),
        ("// comment", "can't be read"), ("100 levels of nesting", "nested deeper"),
        ("99 levels of nesting (good)", "nested deeper"), ("invalid UTF-8", "can't be read"),
    ],
)  # fmt: skip
def test_poison(name: str, message: str) -> None:
    """Traps 12 and 13: what ends a Ruby worker or makes Node lose the job is told in words.

    (99 levels would be 100 in a failed entry.)
    """
    with pytest.raises(PayloadError, match=message):
        codec.decode_job(recorded_values("poison")[name], "q")


@pytest.mark.parametrize(
    "raw",
    [
        b'{"class":"A","args":["\\ud83d"]}', b'{"class":"A","args":["\\uDE00 \\ud83d"]}',
        b'{"class":"A","args":["\xed\xa0\x80"]}', b'{"class":"A","args":["\xc0\xaf"]}',
        b'{"class":"A","args":["\n"]}', b'{"class":"A","args":[01]}', b'{"class":"A","args":[1,]}',
        b"{'class':'A'}", b'{"class":"A","args":[1e999]}', b'\xef\xbb\xbf{"class":"A"}',
        b'{"class":"A","args":' + b"[" * 200_000, b'{"class":"A","args":["' + b"9" * 10 + b'}',
        b'{"class":"A","args":[' + b"9" * 5000 + b"]}",
        b'{"class":"A","args":true}', b'{"class":"A","args":0}', b'{"class":"A","args":""}',
    ],
    ids=lambda raw: repr(raw[:40]),
)  # fmt: skip
def test_more_poison(raw: bytes) -> None:
    """Nothing but a `PayloadError` comes out, whatever goes in."""
    with pytest.raises(PayloadError):
        codec.decode_job(raw, "q")


def test_good_surrogate_pairs_are_read() -> None:
    """Escaped or raw."""
    raw = b'{"class":"A","args":["\\ud83d\\ude00","\xf0\x9f\x98\x80"]}'
    assert codec.decode_job(raw, "q").args == ["😀", "😀"]


@pytest.mark.parametrize(
    ("raw", "args"),
    [
        (b'{"class":"A"}', []),
        (b'{"class":"A","args":null}', []),
        (b'{"class":"A","args":{}}', []),
        (b'{"class":"A","args":{"k":1}}', [{"k": 1}]),
        (b'{"class":"A","args":[[]]}', [[]]),
    ],
)
def test_lenient_args(raw: bytes, args: list[Any]) -> None:
    """Missing, null and `{}` (trap 14) are no arguments; an object is the only one."""
    assert codec.decode_job(raw, "q").args == args


def test_a_job_is_shown_as_node_shows_it() -> None:
    """With its further keys."""
    job = codec.decode_job(b'{"class":"A","args":[1],"queue":"x","id":"a1"}', "q")
    assert job.to_dict() == {"class": "A", "queue": "q", "args": [1], "id": "a1"}


# -- delayed items --


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b'{"class":"A","queue":"q","args":[1.0]}', None),
        (b'{"args":[1.0],"queue":"q","class":"A","x":1}', None),
        (b'{"class":"A","args":[1.0,1.0e-05]}', b'{"class":"A","args":[1.0,1.0e-05],"queue":"q"}'),
        (b' {"args":[1.0],"class":"A"} \n', b' {"args":[1.0],"class":"A","queue":"q"}'),
        (b'{"class":"A","args":[],"queue":"z"}', b'{"class":"A","args":[],"queue":"q"}'),
        (
            b'{"class":"A","args":{"k":1},"id":"a"}',
            b'{"class":"A","args":{"k":1},"id":"a","queue":"q"}',
        ),
        (b'{"class":"A"}', b'{"class":"A","queue":"q","args":[]}'),
        (b'{"class":"A","args":{"k":1.0}}', b'{"class":"A","queue":"q","args":[{"k":1.0}]}'),
    ],
)
def test_a_delayed_item_names_its_queue(raw: bytes, text: bytes | None) -> None:
    """Trap 24: without it Ruby may drop the job; the arguments keep their text."""
    assert codec.with_queue(codec.decode_job(raw, "q")) == (text or raw)


@pytest.mark.parametrize(
    ("raw", "queue"),
    [(b'{"queue":"\xc3\xa9"}', "é"), (b'{"queue":""}', None), (b'{"queue":5}', None), (b"[]", None),
     (b"{}", None), (b"\xff", None)],
)  # fmt: skip
def test_the_queue_of_a_delayed_item(raw: bytes, queue: str | None) -> None:
    """A text with at least one sign, or none."""
    assert codec.delayed_queue(raw) == queue


@pytest.mark.parametrize(
    ("raw", "moved"),
    [
        (b'{"class":"A","queue":"q","args":[1.0],"x":[]}', b'{"class":"A","queue":"r","args":[1.0],"x":[]}'),
        (b'{ "queue" : null ,"class":"A"}', b'{ "queue" : "r" ,"class":"A"}'),
        (b'{"class":"A","args":[{"queue":"q"}]}', b'{"class":"A","args":[{"queue":"q"}]}'),
    ],
)  # fmt: skip
def test_a_job_that_moves_to_another_queue(raw: bytes, moved: bytes) -> None:
    """Only the text of its own `queue` changes."""
    assert codec.for_queue(raw, "r") == moved


# -- what a worker works on --


@pytest.mark.parametrize(
    ("queue", "job", "name"),
    [
        ("q", b'{"class":"A","args":[]}', "h+1-abc:7"),
        ('q","payload":', b'{"class":"A","args":[{"a":1,"worker":"x"}]}', "h+1:7"),
        ("é\n\"\\", b'{"class":"\xc3\xa9","args":["\\",\\"worker\\":\\"x\\"}"]}', 'o"dd,"worker":"x:7'),
        ("q", b"[]", "h:1"),
    ],
)  # fmt: skip
def test_our_records_give_back_the_exact_job(queue: str, job: bytes, name: str) -> None:
    """Whatever stands in the names and in the arguments."""
    record = job_records.work_prefix(queue, "2026-11-21T00:00:00.000001Z") + job
    record += job_records.work_suffix(name)

    assert job_records.payload_of_work(record) == job
    work = job_records.decode_work("w", record)
    assert work is not None
    assert (work.queue, work.worker, work.job_raw) == (queue, name, job)
    assert work.payload == json.loads(job)


@pytest.mark.parametrize(
    "record",
    [
        b'{"queue":"q","run_at":"x","payload":{"class":"A","args":[{"a":1,"worker":"bob"}]}}',
        b'{"queue":"q","run_at":"x","payload":{"class":"A","args":[1]}}',
        b'{"run_at":"x","worker":"h:1","payload":{"class":"A"},"queue":"q"}',
        *recorded_values("working").values(),
    ],
)
def test_foreign_records_have_no_exact_job(record: bytes) -> None:
    """Nothing in their arguments makes them look like ours."""
    assert job_records.payload_of_work(record) is None


@pytest.mark.parametrize("record", [b"", b"x", b"[]", b"null", b"\xff"])
def test_records_that_can_not_be_read(record: bytes) -> None:
    """They are None, and raise nothing."""
    assert job_records.decode_work("w", record) is None


# -- failed entries --


def entry(**changes: Any) -> bytes:
    """A failed entry of ours."""
    values: dict[str, Any] = {
        "job_json": b'{"class":"A","args":[1.0]}', "queue": "q", "worker": "h+1:7:q",
        "exception": "ValueError", "error": "boom\n\u2028", "backtrace": ["line 1"],
        "failed_at": "2026/11/21 00:27:20 UTC",
    }  # fmt: skip
    return job_records.encode_failed(**values | changes)


def test_a_failed_entry_has_all_seven_keys() -> None:
    """In Node's order, with the job's own text in it (wire document, 5.9)."""
    assert list(json.loads(entry())) == [
        "worker", "queue", "payload", "exception", "error", "backtrace", "failed_at",
    ]  # fmt: skip
    assert b'"payload":{"class":"A","args":[1.0]},' in entry()


def test_a_failed_entry_harms_nobody() -> None:
    """Lone surrogates in messages, traces and names are written as their escapes."""
    odd = "a\ud800\udcff"
    raw = entry(error=odd, exception=odd, backtrace=[odd], queue=odd)
    assert json.loads(raw.decode())["error"] == "a\\ud800\\udcff"


@pytest.mark.parametrize("name", recorded_values("failed"))
def test_recorded_failed_entries(name: str) -> None:
    """Every entry of Ruby and Node is read: its names are texts, its trace a list, its job exact."""
    raw = recorded_values("failed")[name]
    data = json.loads(raw)
    failed = job_records.decode_failed(raw)
    assert failed.raw == raw
    assert failed.payload == data["payload"]
    assert failed.backtrace == (data["backtrace"] or [])
    assert failed.worker == data["worker"]
    assert failed.exception == data.get("exception")
    if isinstance(failed.payload, dict):
        assert failed.job_raw is not None
        assert failed.job_raw in raw
        assert json.loads(failed.job_raw) == data["payload"]
        assert failed.args == (data["payload"].get("args") or [])
    else:
        assert (failed.job_raw, failed.class_name, failed.args) == (None, None, [])


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"null", b"\xff\xfe", b'"x"', b"[" * 100_000])
def test_a_failed_entry_of_any_bytes(raw: bytes) -> None:
    """Nothing raises; the bytes are kept, by which it can be removed."""
    failed = job_records.decode_failed(raw, "q_failed")
    assert (failed.raw, failed.source, failed.backtrace) == (raw, "q_failed", [])


@pytest.mark.parametrize("poison", list(recorded_values("poison").values()))
def test_unreadable_jobs_are_wrapped_and_unwrapped(poison: bytes) -> None:
    """Ruby and Node can read the wrapper; its bytes are the job's."""
    wrapped = job_records.unreadable_job(poison, "q\ud800")
    job = codec.decode_job(wrapped, "q")
    assert (job.class_name, job.args) == (
        job_records.UNREADABLE,
        [base64.b64encode(poison).decode()],
    )
    assert job_records.decode_failed(entry(job_json=wrapped)).job_raw == poison
    again = job_records.unreadable_job(wrapped, "q")
    assert job_records.decode_failed(entry(job_json=again)).job_raw == poison


def test_large_unreadable_jobs_are_named() -> None:
    """Each failure has a name of its own for what is kept beside it."""
    names = {job_records.kept_name("d") for _ in range(10)}
    assert len(names) == 10
    for kept in names:
        raw = entry(job_json=job_records.unreadable_reference("d", 100_000, "q", kept))
        failed = job_records.decode_failed(raw)
        assert (failed.unreadable, failed.job_raw) == (kept, None)
        assert failed.args == [{"sha1": "d", "bytes": 100_000, "kept": kept}]
    old = job_records.decode_failed(
        entry(job_json=b'{"class":"resqpy.unreadable","args":[{"sha1":"d"}]}')
    )
    assert old.unreadable == "d"


@pytest.mark.parametrize("args", [[], [5], ["?"], [{}], [{"kept": 5}], {}])
def test_broken_wrappers(args: Any) -> None:
    """What somebody made of one raises nothing."""
    job = json.dumps({"class": job_records.UNREADABLE, "args": args}).encode()
    failed = job_records.decode_failed(entry(job_json=job))
    assert failed.unreadable is None


@pytest.mark.parametrize(
    ("raw", "mended"),
    [
        (b'{"class":"A","args":{},"queue":"q"}', b'{"class":"A","args":[],"queue":"q"}'),
        (b'{"class":"A","args":[{}]}', b'{"class":"A","args":[{}]}'),
        (b'{"class":"A","args":{"k":{}}}', b'{"class":"A","args":{"k":{}}}'),
        (b'{"class":"A"}', b'{"class":"A"}'),
    ],
)
def test_what_nodes_script_made_of_no_arguments(raw: bytes, mended: bytes) -> None:
    """Trap 14: `{}` as the whole of the arguments was `[]`; deeper ones can't be told."""
    assert codec.mend_args(raw) == mended


@pytest.mark.parametrize(
    ("raw", "name"),
    [(b'{"class":"A"}', "A"), (b'{"class":5}', None), (b"[]", None), (b"\xff", None)],
)
def test_the_class_of_any_bytes(raw: bytes, name: str | None) -> None:
    """A text or None."""
    assert codec.class_of(raw) == name


def test_an_empty_job_value() -> None:
    """`Job` without further keys shows three."""
    assert Job("A", [], "q", b"").to_dict() == {"class": "A", "queue": "q", "args": []}


class Name(StrEnum):
    """Names that are equal to texts."""

    QUEUE = "mails"
    TASK = "send"


def test_a_name_that_is_only_equal_to_a_text() -> None:
    """What is remembered of the one is right for the other, whichever came first."""
    jobs = [
        codec.encode_job(name, check_queue_name(queue), [])
        for name, queue in ((Name.TASK, Name.QUEUE), ("send", "mails"), ("mails", "send"))
    ]
    assert jobs[0] == jobs[1] == b'{"class":"send","queue":"mails","args":[]}'
    assert jobs[2] == b'{"class":"mails","queue":"send","args":[]}'
    assert type(check_queue_name("mails")) is str
