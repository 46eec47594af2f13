"""The one comparison of jobs: by class, arguments and queue as values."""

from __future__ import annotations

from typing import Any

import pytest

from resqpy.base import reading
from resqpy.base.errors import InvalidJob
from resqpy.base.job_filter import JobFilter, same

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

    assert wanted.may_fit(raw)
    assert wanted.fits(reading.show_job(raw, "q"))
    assert wanted.differences(reading.show_job(raw, "r")) == ["queue"]


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
