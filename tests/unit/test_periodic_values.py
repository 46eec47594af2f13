"""Periodic tasks as values: announcements, the job with its time, the grid of times."""

from __future__ import annotations

import json
from datetime import timedelta, timezone
from typing import Any

import pytest

from resqpy.base import codec
from resqpy.base.errors import UsageError
from resqpy.base.periodic import (
    decode,
    encode,
    marks,
    next_on_grid,
    periodic_of,
    time_of,
    with_time,
)


@pytest.mark.parametrize(
    "words",
    [
        {"frequency": 1500},
        {"frequency": timedelta(minutes=1), "queue": "ü", "args": [1, {"a": []}]},
        {"cron": "0 9 * * *"},
        {"cron": "0 9 * * *", "timezone": "Europe/Berlin", "missed": "once"},
        {"cron": "0 9 * * * +05:30", "missed": "all", "missed_window": 5},
        {"cron": "*/5 * * * * *", "timezone": timezone(timedelta(hours=-3.5))},
    ],
)
def test_an_announcement_is_read_as_it_was_meant(words: Any) -> None:
    """In another process, perhaps by another version."""
    task = periodic_of(words)
    assert task is not None
    read = decode(encode(task))
    assert (encode(read), read.cron_text) == (encode(task), task.cron_text)


@pytest.mark.parametrize("raw", [b"", b"5", b"{}", b'{"args":[]}', b'{"args":[],"cron":"x"}'])
def test_an_odd_announcement_is_refused(raw: bytes) -> None:
    """With its text."""
    with pytest.raises(UsageError):
        decode(raw)


def test_the_time_stands_beside_the_arguments() -> None:
    """It is read from there; a job without it, or with an odd one, has none."""
    raw = with_time(codec.encode_job("t", "q", [{}]), 1795221434000)
    assert raw == b'{"class":"t","queue":"q","args":[{}],"resqpy_at":1795221434000}'
    assert time_of(codec.decode_job(raw, "q")) == 1795221434000
    for odd in (b"", b',"resqpy_at":"x"', b',"resqpy_at":true', b',"resqpy_at":1.5'):
        assert time_of(codec.decode_job(b'{"class":"t","args":[]' + odd + b"}", "q")) is None


@pytest.mark.parametrize("name", ["tick", "mail/daily", 'odd"name\\', "größe"])
def test_a_job_is_known_again_in_any_spelling(name: str) -> None:
    """Also where Redis' Lua has encoded it: keys in another order, slashes escaped."""
    text = json.dumps({"resqpy_at": 5, "class": name, "args": {}}, ensure_ascii=False)
    for record in (text.replace(" ", ""), text.replace(" ", "").replace("/", "\\/")):
        assert all(mark in record.encode() for mark in marks(name, 5))
    assert not all(mark in b'{"class":"other","resqpy_at":5}' for mark in marks(name, 5))


def test_the_grid_of_times() -> None:
    """The next later time; a step from now where the clock was set back."""
    assert next_on_grid(1000, 100, 1000) == 1100
    assert next_on_grid(1000, 100, 1099) == 1100
    assert next_on_grid(1000, 100, 1100) == 1200
    assert next_on_grid(1000, 100, 5555) == 5600
    assert next_on_grid(1000, 100, 400) == 500
