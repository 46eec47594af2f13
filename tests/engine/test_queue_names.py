"""Names, `*`, globs and exclusions, in Ruby's order."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from typing import Any

import pytest

from resqpy.base.errors import InvalidQueueName, UsageError
from resqpy.base.keys import Keys
from resqpy.engine.worker.queues import QueueNames, worked
from tests.support.working import working

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
        # all others, then those that are named after it
        ("zeta,*,Alpha", ["zeta", "_low", "a:b", "mail_a", "mail_b", "mail_x", "Alpha"]),
        ("*,mail_*,new", ["Alpha", "_low", "a:b", "zeta", "mail_a", "mail_b", "mail_x", "new"]),
        ("*,*,zeta", ["Alpha", "_low", "a:b", "mail_a", "mail_b", "mail_x", "zeta"]),
        ("*,!mail_*,Alpha,!zeta", ["_low", "a:b", "Alpha"]),
        # weights change nothing of which they are
        ("zeta=3,new=1", ["zeta", "new"]),
        ([("zeta", 3), "mail_?", (" new ", 1)], ["zeta", "mail_a", "mail_b", "mail_x", "new"]),
        ("a=b,x=", ["a=b", "x="]),
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


# -- weights --


@pytest.mark.parametrize(
    "specs",
    [
        "a=0",
        "a=1001",
        [("a", 0)],
        [("a", True)],
        [("a", 1.5)],
        [("a", "x")],
        "!a=3",
        "=3",
        "a=-1",
        "a=1.5",
        "a=1e3",
        "a=٣",
        f"a={'9' * 5000}",
        "a=3,a=4",
        "a=3,a",
    ],
)
def test_a_weight_that_is_none(specs: Any) -> None:
    """Said before anything is worked."""
    with pytest.raises(UsageError, match="weight"):
        QueueNames(specs)


def test_weights_are_not_in_the_workers_id() -> None:
    """Other programs read the queues there."""
    assert QueueNames("a=6,b = 3 ,*,c").text == "a,b,*,c"
    assert QueueNames([("a", 6), "b"]).text == "a,b"


def test_without_weights_the_list_is_the_same() -> None:
    """The same object, so nothing is encoded again; one weight alone means nothing."""
    for specs in ("a,b", "a=6,b,c=3"):
        queues = QueueNames(specs)
        assert queues.shares.order(queues.names, 5) is queues.names


class Backlog:
    """Exchanges on queues with jobs without end, as the pool makes them.

    Args:
        flying: how many are in flight.
        jobs: of those queues that have so many; the others never end.
    """

    def __init__(self, specs: str, known: Sequence[str] = (), flying: int = 1) -> None:
        self.queues = QueueNames(specs)
        self.queues.resolve(known)
        self.flying = flying
        self.flights: deque[tuple[Sequence[str], int, list[str], int]] = deque()
        self.jobs: dict[str, int] = {}
        self.got: Counter[str] = Counter()

    def run(self, slots: int) -> None:
        """One exchange is sent, and the oldest lands."""
        names = self.queues.shares.order(self.queues.names, slots)
        taken: list[str] = []
        looked = 0
        for name in names:
            count = min(slots - len(taken), self.jobs.get(name, slots))
            if name in self.jobs:
                self.jobs[name] -= count
            taken += [name] * count
            if len(taken) == slots:
                break
            looked += 1
        self.flights.append((names, slots, taken, looked))
        if len(self.flights) >= self.flying:
            landed = self.flights.popleft()
            self.got.update(landed[2])
            self.queues.shares.settle(*landed)


@pytest.mark.parametrize("slots", [1, 2, 7, 50])
@pytest.mark.parametrize("flying", [1, 2])
@pytest.mark.parametrize(
    "weights", [{"a": 6, "b": 3, "c": 1}, {"a": 1, "b": 1}, {"a": 1000, "b": 1}]
)
def test_each_gets_its_share(weights: dict[str, int], slots: int, flying: int) -> None:
    """Within the jobs of the exchanges in flight, at any time."""
    log = Backlog(",".join(f"{name}={weight}" for name, weight in weights.items()), flying=flying)
    for _ in range(3000):
        log.run(slots)
        total = log.got.total()
        for name, weight in weights.items():
            due = total * weight / sum(weights.values())
            assert abs(log.got[name] - due) <= slots * (flying + 1)


def test_what_is_idle_saves_nothing_up() -> None:
    """A queue that was empty for long gets its share from now on, and the others what it leaves."""
    log = Backlog("a=6,b=3,c=1")
    log.jobs = {"b": 0, "c": 0}
    for _ in range(500):
        log.run(10)
    assert log.got == {"a": 5000}
    log.jobs = {}
    log.got.clear()
    for _ in range(100):
        log.run(10)
    assert {name: abs(log.got[name] - due) <= 20 for name, due in {"a": 600, "b": 300, "c": 100}.items()} == {
        "a": True, "b": True, "c": True,
    }  # fmt: skip


def test_nor_where_all_are_empty_time_and_again() -> None:
    """Where each job is taken at once, whose turn it is means nothing later."""
    log = Backlog("a=6,b=3")
    for _ in range(1000):
        log.jobs = {"a": 1, "b": 0}
        log.run(10)
    log.jobs = {}
    log.got.clear()
    for _ in range(90):
        log.run(10)
    assert abs(log.got["a"] - 600) <= 20


def test_only_neighbours_share() -> None:
    """What stands before them comes first, what follows waits; a pattern with a weight is one of them."""
    log = Backlog("top,a=2,*=1,low", ["x", "y", "low", "a", "top"])
    log.jobs = {"top": 15}
    for _ in range(31):
        log.run(10)
    assert log.got["top"] == 15
    assert log.got["low"] == log.got["y"] == 0
    assert abs(log.got["a"] - 2 * log.got["x"]) <= 30


@pytest.mark.parametrize("slots", [1, 60])
async def test_a_worker_takes_by_weight(redis_url: str, redis: Any, slots: int) -> None:
    """Three of a for each of b while both have jobs, then what is left; what comes before them is first."""

    async def no_op() -> None:
        return

    raw = '{"class":"no_op","args":[]}'
    for name, count in {"a": 900, "b": 900, "top": 5, "low": 5}.items():
        await redis.rpush(f"resque:queue:{name}", *[raw] * count)
    specs = "top,a=3,b=1,low"
    events = ("success", "job")
    async with working(redis_url, {"no_op": no_op}, specs, slots=slots, events=events) as work:
        await work.until(1810)
    names = [args[1] for args in work.args("job")]
    assert names[:5] == ["top"] * 5
    assert names[-5:] == ["low"] * 5
    assert abs(names[5:805].count("a") - 600) <= 3 * slots


@pytest.mark.parametrize("wanted", ["=1,*,!a", "mail=0", "a,!b=2"])
def test_a_list_that_no_worker_of_ours_can_be_given(wanted: str) -> None:
    """Another program, or an older version, has it in its id: it works none of our queues."""
    with pytest.raises(UsageError):
        QueueNames(wanted)
    assert worked(wanted, ["mail", "a"]) == set()


def test_which_of_some_queues_a_worker_works() -> None:
    """By names, patterns and priorities."""
    assert worked("mail,q*,!q2", ["mail", "mail^5", "q1", "q2", "x"]) == {"mail", "mail^5", "q1"}
