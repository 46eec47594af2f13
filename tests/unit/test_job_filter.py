"""The one comparison of jobs: by class, arguments and queue as values."""

from __future__ import annotations

from typing import Any

import pytest

from resqpy.base import reading
from resqpy.base.errors import InvalidJob
from resqpy.base.reading import JobFilter, same

SAME = [  # what PHP, Python, Go, Java, traced Ruby and Node write of one job
    rb'{"class":"Mail","args":[{"to":"\u00fc\/\u00e9","n":1}],"id":"95d4","prefix":"","queue_time":1.5}',
    rb'{"class": "Mail", "args": [{"to": "\u00fc/\u00e9", "n": 1}], "enqueue_timestamp": 1327360011.5}',
    '{"class":"Mail","args":[{"n":1.0,"to":"ü/é"}]}'.encode(),
    '{"traceparent":"00-abc","args":[{"to":"ü/é","n":1e0}],"queue":"other","class":"Mail"}'.encode(),
]


@pytest.mark.parametrize("raw", SAME)
def test_whoever_wrote_it(raw: bytes) -> None:
    """Order, spelling, blanks and further keys make no other job; nor what it says of its queue."""
    wanted = JobFilter.of("Mail", [{"n": 1, "to": "ü/é"}], "q")

    assert wanted.means(raw, "q")
    assert not wanted.means(raw, "r")
    assert wanted.fits(reading.show_job(raw, "q"))
    assert wanted.differences(reading.show_job(raw, "r")) == ["queue"]


RAWS = [
    *SAME, b"", b"junk", b"[1]", b'"Mail"', b'{"class":"Mail"', b'{"class":"Mail","args":{}}',
    b'{"args":["Mail"],"class":"Other"}', b'{"class":"Mail","class":"Other","args":[7]}',
    rb'{"\u0063lass":"\u004dail","args":[7]}', b'\xef\xbb\xbf{"class":"Mail","args":[7]}',
    b' {"class" : "Mail","args":[7]} ', b'{"class":"Mail","args":["\xff",7],"queue":"q"}',
    b'{"class":"Mail","args":[7],"queue":"q"}', b'{"class":"Mail","args":[7.0],"queue":"r"}',
    b'{"class":"Mail","args":[70e-1]}', b'{"class":"Mail","args":[0.7E1]}', b'{"class":"Mail","args":[17]}',
    b'{"class":"Mail","args":[6.99999999999999999999]}', b'{"class":"Mail","args":["7"]}',
    b'{"class":"Mail","args":[-7]}', b'{"class":"Mail","args":[7,true,null]}',
    b'{"class":"Mail","args":[[]]}', b'{"class":"Mail","args":[-0]}', b'{"class":"Mail","args":[0.0]}',
    b'{"class":"Mail","args":[4503599627370495.8]}', b'{"class":"Mail","args":[' + b"9" * 5000 + b"]}",
    rb'{"class":"Mail","args":[{"a/b\n":"\u20ac"}]}', '{"class":"Mail","args":[{"a/b\\n":"€"}]}'.encode(),
    rb'{"class":"\ud800","args":[7]}', b'{"class":"\xff","args":[7]}',
    b'{"class":"Mail","args":[' + b"[" * 99 + b"]" * 99 + b"]}",
]  # fmt: skip


TRIED: list[list[Any]] = [
    [7], [7.0], [-7], [0], ["7"], [True], [7, True, None], [], [[]], [2**52],
    [{"a/b\n": "€"}], [{"to": "ü/é", "n": 1}],
]  # fmt: skip


@pytest.mark.parametrize(
    "wanted",
    [
        JobFilter("Mail"), JobFilter("Mail", None, "q"), JobFilter(None, None, "q"), JobFilter(),
        JobFilter("\ufffd"), JobFilter(chr(0xD800)), JobFilter(None, [7]), JobFilter("Mail", [7], "q"),
        *[JobFilter("Mail", args) for args in TRIED],
    ],
)  # fmt: skip
def test_a_look_at_the_bytes_says_the_same(wanted: JobFilter) -> None:
    """However odd they are: what is read of a job only as far as is asked is no other comparison."""
    for raw in RAWS:
        assert wanted.means(raw, "q") == wanted.fits(reading.show_job(raw, "q")), raw
        assert wanted.means(raw) == wanted.fits(reading.show_delayed(raw)), raw


def test_other_jobs_are_told_by_their_bytes() -> None:
    """The class, the texts and the whole numbers of a job stand in it, or it is read."""
    wanted = JobFilter.of("Mail", [{"to": "ada@example.com", "n": 17}])
    other = b'{"class":"Mail","args":[{"to":"ada@example.com","n":%b}]}'

    assert not wanted.may_fit(b'{"class":"Other","args":[{"to":"ada@example.com","n":17}]}')
    assert not wanted.may_fit(b'{"class":"Mail","args":[{"to":"bob@example.com","n":17}]}')
    assert not wanted.may_fit(other % b"18")
    assert all(wanted.may_fit(other % each) for each in (b"17", b"17.0", b"1.7e1", b"170E-1"))


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        (1, 1.0, True), (0, -0.0, True), (True, 1, False), (False, 0, False), (None, False, False),
        (2**53, 2**53 + 1, False), ("1", 1, False), ([1], [1, 2], False), ([], {}, False),
        ({"a": [True]}, {"a": [1]}, False), ({"a": 1, "b": 2}, {"b": 2, "a": 1}, True),
        ({"a": None}, {}, False), ("é", "e\u0301", False),
    ],
)  # fmt: skip
def test_values(one: Any, other: Any, equal: bool) -> None:
    """As JSON has them: a truth is no number, and no whole number is rounded."""
    assert same(one, other) is same(other, one) is equal


def test_a_job_that_can_not_be_read_has_a_class_all_the_same() -> None:
    """It is found by that, and by nothing else."""
    job = reading.show_job(b'{"class":"A","args":["\xff"]}', "q")

    assert JobFilter("A").fits(job)
    assert JobFilter("B").differences(job) == ["class"]
    assert JobFilter.of("A", ["\ufffd"]).differences(job) == ["args"]


def test_what_no_job_can_have_is_refused() -> None:
    """With what is wrong."""
    with pytest.raises(InvalidJob):
        JobFilter.of("A", [object()])


def test_the_texts_of_a_job_are_all_meant() -> None:
    """What JavaScript would round is another job, so its bytes are not removed for this one."""
    texts = JobFilter.of("A", [2**53 + 1], "q").texts()

    assert len(texts) == 3
    assert all(str(2**53 + 1).encode() in text for text in texts)
    assert JobFilter("A").texts() == []
