"""Names, `*`, globs and exclusions, in Ruby's order."""

from __future__ import annotations

import pytest

from resqpy.base.errors import InvalidQueueName
from resqpy.base.keys import Keys
from resqpy.engine.worker.queues import QueueNames

KNOWN = ["zeta", "Alpha", "_low", "mail_a", "mail_b", "mail_x", "a:b"]


@pytest.mark.parametrize(
    ("specs", "names"),
    [
        ("*", ["Alpha", "_low", "a:b", "mail_a", "mail_b", "mail_x", "zeta"]),  # bytewise, as Ruby
        ("zeta,*", ["zeta", "Alpha", "_low", "a:b", "mail_a", "mail_b", "mail_x"]),
        ("mail_*", ["mail_a", "mail_b", "mail_x"]),
        ("mail_*,!mail_x", ["mail_a", "mail_b"]),
        ("*,!mail_*,!zeta", ["Alpha", "_low", "a:b"]),
        ("!mail_*", ["Alpha", "_low", "a:b", "zeta"]),
        ("new,zeta", ["new", "zeta"]),
        (["one", "two", "one"], ["one", "two"]),
        ("mail_?,zeta,mail_a", ["mail_a", "mail_b", "mail_x", "zeta"]),
        ("mail_[ab]", ["mail_a", "mail_b"]),
        ("a:b", ["a:b"]),
        (" one , two ,", ["one", "two"]),
        ("", ["Alpha", "_low", "a:b", "mail_a", "mail_b", "mail_x", "zeta"]),
    ],
)
def test_what_a_worker_works(specs: str | list[str], names: list[str]) -> None:
    """Patterns find what is there, sorted bytewise; names count even if unknown; no queue twice."""
    queues = QueueNames(specs)
    queues.resolve(KNOWN)
    assert queues.names == names


def test_the_text_never_changes() -> None:
    """What stands in the worker's id is what was asked for, not what was found."""
    queues = QueueNames("b,*,!c")
    queues.resolve(["x"])
    assert queues.text == "b,*,!c"
    assert QueueNames([]).text == "*"


def test_only_patterns_ask_redis() -> None:
    """Fixed names need no look at the set of queues."""
    assert not QueueNames("a,b").dynamic
    assert QueueNames("a,b*").dynamic


def test_what_is_tracked() -> None:
    """Fixed names are tracked one by one (with the set, where sub-queues appear), patterns need all
    queues; the pause keys always.
    """
    keys = Keys()
    assert QueueNames("a,b").prefixes(keys) == [
        "resque:queue:a", "resque:queue:b", "resque:queues", "resque:pause-all-workers",
        "resque:pause:queue:",
    ]  # fmt: skip
    assert QueueNames("*").prefixes(keys) == [
        "resque:queue:", "resque:queues", "resque:pause-all-workers",
        "resque:pause:queue:",
    ]  # fmt: skip


def test_a_comma_is_refused() -> None:
    """A list's element with a comma could not be told from two in the worker's id."""
    with pytest.raises(InvalidQueueName, match="comma"):
        QueueNames(["a,b"])


def test_names_that_are_no_text_are_given_back() -> None:
    """They can't be worked; the others are."""
    queues = QueueNames("*")
    assert queues.resolve(["a", "b\udcff"]) == ["b\udcff"]
    assert queues.names == ["a"]
