"""Rails enqueues and we work; we enqueue and Rails performs: the real ActiveJob, without Rails' Redis."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

from resqpy.base import codec
from resqpy.base.activejob import WRAPPER, GlobalID, Symbol, check_readable, tried_again, wrapped

Rails = Callable[..., list[Any]]


def _job(name: str, *args: Any, **keywords: Any) -> str:
    return json.dumps({"class": WRAPPER, "args": [wrapped(name, "reports", args, keywords, 1)]})


def test_what_rails_sends_is_read(rails: Rails) -> None:
    """Each kind of argument, as the recording has it."""
    jobs = [codec.decode_job(each["job"].encode(), "reports") for each in rails("send")]

    for each in jobs:
        check_readable(each.args)
    assert {each.class_name for each in jobs} == {"ReportJob"}
    assert [each.args for each in jobs] == [
        [1, 2.5, 2**60, None, True, "text", "sym"],
        [{"a": 1}, {"b": {"c": "d"}}, [1, ["e"]]],
        [
            "2026-01-02T03:04:05.678901000Z",
            "2026-01-02",
            "PT5400S",
            "2026-07-01T12:00:00.000000000+02:00",
        ],
        ["2026-01-02T03:04:05.000000000+00:00", "ReportJob", "gid://shop/User/17", {"x": 1}],
        [1, {"note": "hi", "kinds": ["a"]}],
        [{"note": "only"}],
        [],
        [5],
    ]


def test_what_we_send_rails_performs(rails: Rails) -> None:
    """With Ruby's own values and keywords."""
    at = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
    user = GlobalID("shop", "User", "17")
    jobs = [
        _job("ReportJob", *[1, 2.5, 2**60, None, True, "x", Symbol("s")]),
        _job("ReportJob", {"a": 1, Symbol("b"): [Symbol("c")]}),
        _job("ReportJob", at, date(2026, 1, 2), timedelta(minutes=90), user),
        _job("ReportJob", 1, note="hi", kinds=[Symbol("a")]),
        _job("ReportJob"),
    ]

    assert [each["performed"] for each in rails("run", "\n".join(jobs))] == [
        [[1, 2.5, 2**60, None, True, "x", ":s"], {}],
        [[{'"a"': 1, ":b": [":c"]}], {}],
        [["Time 2026-01-02T03:04:05.678901Z", "Date 2026-01-02", "Duration 5400", "User 17"], {}],
        [[1], {":note": "hi", ":kinds": [":a"]}],
        [[], {}],
    ]


def test_attempts_are_counted_together(rails: Rails) -> None:
    """Rails goes on from ours, and we from its."""
    ours = tried_again(tried_again(_job("FlakyJob").encode()))
    [theirs] = rails("run", ours.decode())

    again = json.loads(theirs["job"])["args"][0]
    assert again["executions"] == 3
    assert again["exception_executions"] == {"[ArgumentError]": 1}  # which Rails' own limit counts
    assert json.loads(tried_again(theirs["job"].encode()))["args"][0]["executions"] == 4
