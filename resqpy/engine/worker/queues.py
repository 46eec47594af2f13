"""Which queues an exchange names: all if they are few; of many only those that may have jobs.

Each queue costs the exchange something, so with ten thousand queues almost all of its time would go to
empty ones. A queue may have a job if nobody has looked yet, if Redis reported a change, or if the last look
was not completed. A change reported during an exchange counts after it.
"""

from __future__ import annotations

import re
from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from resqpy.base.errors import InvalidQueueName, UsageError
from resqpy.base.keys import Keys, split_priority
from resqpy.base.when import whole_number

# Which queues a worker works, in which order: names, `*`, shell globs, `!exclusions`.
#
# As in Ruby's resque: the matches of each pattern are sorted bytewise, in the order of the patterns, and no
# queue occurs twice; only `*` leaves out those that what follows names, so that `critical,*,bulk` works bulk
# last. A worker of a queue also works its sub-queues of higher and lower priority (`base/keys.py`), each in its
# place: `default^5`, `default`, `default^-3`.
#
# Neighbours with weights, `critical=6,default=3`, share their place: see `QueueShares`.

_WILDCARDS = frozenset("*?[]{}")
_MAX_WEIGHT = 1000
_NUMERIC = re.compile(r"[+-]?\d+(?:[.e][+-]?\d+)?")  # of a weight, right or wrong

QueueSpec = str | tuple[str, int]


def is_plain(spec: str) -> bool:
    """Whether it is a queue's name: neither pattern nor exclusion."""
    return not (spec.startswith("!") or _WILDCARDS & set(spec))


class QueueNames:
    """The queues of a worker.

    Args:
        specs: names, patterns and exclusions, or one comma-separated text, as in `QUEUES`; with a weight as
            `("critical", 6)` or `critical=6`.

    Attributes:
        known: how many queues there were when they were last resolved, matching or not.
        shares: whose turn it is, of those with weights.

    Raises:
        InvalidQueueName: a name that can't be part of a worker's identity.
        UsageError: a weight that is none.
    """

    def __init__(self, specs: str | Sequence[QueueSpec] = "*") -> None:
        parts = specs.split(",") if isinstance(specs, str) else list(specs)
        pairs = [pair for pair in map(_with_weight, parts) if pair[0]] or [("*", None)]
        self.specs: tuple[str, ...] = tuple(name for name, _ in pairs)
        for name, weight in pairs:
            if weight is not None and self.specs.count(name) > 1:
                raise UsageError(f"queue {name!r} has a weight and is named twice")
        self.shares: QueueShares = QueueShares([w for n, w in pairs if not n.startswith("!")])
        for spec in self.specs:
            if "," in spec:
                raise InvalidQueueName(
                    f"queue {spec!r}: a comma separates queues; only '*' works such a queue"
                )
        self._excluded = tuple(spec[1:] for spec in self.specs if spec.startswith("!"))
        self._wanted = tuple(spec for spec in self.specs if not spec.startswith("!")) or ("*",)
        self.dynamic: bool = any(_WILDCARDS & set(spec) for spec in self._wanted)
        self.known: int = 0
        self._known: list[str] | None = None
        self._names: list[str] = []
        self._unfit: list[str] = []
        self.resolve(())

    @property
    def text(self) -> str:
        """The text in a worker's id; never changes."""
        return ",".join(self.specs)

    @property
    def names(self) -> list[str]:
        """The queues as last resolved."""
        return self._names

    def resolve(self, known: Iterable[str]) -> list[str]:
        """Match the patterns against all existing queues; names without a pattern are included even if they
        don't exist.

        Returns:
            Matching queues that can't be worked because their names are not UTF-8.
        """
        everything = sorted(known, key=lambda name: name.encode("utf-8", "surrogateescape"))
        if everything == self._known:
            return self._unfit
        self._known, self.known = everything, len(everything)
        families = _families(everything)
        matched: list[list[str]] = []
        for spec in self._wanted:
            if _WILDCARDS & set(spec):
                matched.append(list(_matching(families, spec)))
            else:
                matched.append(_in_order([*families.get(spec, ()), spec]))
        found: dict[str, int] = {}  # the place of what names it
        for place, names in enumerate(matched):
            rest = self._wanted[place] == "*" and {
                n for later in matched[place + 1 :] for n in later
            }
            for name in names:
                if not (rest and name in rest):
                    found.setdefault(name, place)
        self.shares.places = found
        wanted = [name for name in found if not self._is_excluded(name)]
        self._names = [name for name in wanted if _is_text(name)]
        self._unfit = [name for name in wanted if not _is_text(name)]
        return self._unfit

    def _is_excluded(self, name: str) -> bool:
        base = split_priority(name)[0]
        return any(
            fnmatchcase(name, pattern) or fnmatchcase(base, pattern) for pattern in self._excluded
        )

    def prefixes(self, keys: Keys) -> list[str]:
        """Prefixes of the keys whose changes may mean work."""
        if self.dynamic:
            return [keys.queue(""), keys.queues, keys.pause, keys.queue_pause("")]
        names = [spec for spec in self._wanted if not self._is_excluded(spec)]
        return [*map(keys.queue, names), keys.queues, keys.pause, keys.queue_pause("")]


def worked(wanted: str, queues: Sequence[str]) -> set[str]:
    """Which of some queues a worker takes jobs from whose list of queues is this text.

    Other programs, and older versions, may have written what no worker of ours can be given: it works none.
    """
    try:
        names = QueueNames(wanted)
    except UsageError:
        return set()
    names.resolve(queues)
    return set(queues).intersection(names.names)


def _with_weight(part: QueueSpec) -> tuple[str, int | None]:
    """A name or pattern, and its weight, if it has one."""
    weight: object = None
    if not isinstance(part, str):
        name, weight = part
    else:
        name, equals, number = part.rpartition("=")
        if equals and _NUMERIC.fullmatch(number := number.strip()):
            whole = whole_number(number)
            weight = number[:20] if whole is None else whole
        else:
            name = part
    name = name.strip()
    if weight is None:
        return name, None
    if isinstance(weight, bool) or not isinstance(weight, int) or not 1 <= weight <= _MAX_WEIGHT:
        raise UsageError(
            f"queue {name!r}: the weight {weight!r} is not a whole number from 1 to {_MAX_WEIGHT}"
        )
    if not name or name.startswith("!"):
        raise UsageError(f"queue {name!r}: what is excluded or has no name has no weight")
    return name, weight


class QueueShares:
    """Whose turn it is among queues with weights: each time that of the one that got the least for its weight
    (stride scheduling). One that was empty has no claim to what it did not use.

    Args:
        weights: of the names and patterns, by place; None: it has none, and only gives way to those before it.

    Attributes:
        places: of each queue, the place of the name or pattern that it is worked by.
    """

    def __init__(self, weights: Sequence[int | None]) -> None:
        self.places: dict[str, int] = {}
        self._weights = list(weights) or [None]
        self._first: list[int] = []  # of each place, that with which its row of neighbours begins
        for place, weight in enumerate(self._weights):
            row = place > 0 and weight is not None and self._weights[place - 1] is not None
            self._first.append(self._first[-1] if row else place)
        self.plain: bool = self._first == list(range(len(self._weights)))
        self._got = [0.0] * len(self._weights)  # jobs for each weight

    def order(self, names: Sequence[str], count: int) -> Sequence[str]:
        """The queues of an exchange in the order of their turns; the given ones where no two share a place.

        Args:
            count: of jobs that are wanted: whose turn it is is taken to get them, until `settle` tells
                otherwise.
        """
        if self.plain or not names:
            return names
        places = self.places
        turns = sorted(names, key=lambda name: self._turn(places.get(name, 0)))
        self._add(places.get(turns[0], 0), count)
        return turns

    def settle(self, names: Sequence[str], count: int, taken: Iterable[str], looked: int) -> None:
        """What became of an exchange.

        Args:
            names, count: what `order` gave for it, and was given.
            taken: the queue of each job that it brought.
            looked: so many of the queues, from the first, have no jobs left.
        """
        if self.plain or not names:
            return
        places = self.places
        self._add(places.get(names[0], 0), -count)
        for name, jobs in Counter(taken).items():
            self._add(places.get(name, 0), jobs)
        left = {places.get(name, 0) for name in names[looked:]}
        for place in {places.get(name, 0) for name in names[:looked]} - left:
            row = [n for n, first in enumerate(self._first) if first == self._first[place]]
            waiting = [self._got[each] for each in row if each in left]
            now = min(waiting) if waiting else max(self._got[each] for each in row)
            self._got[place] = max(self._got[place], now)

    def _turn(self, place: int) -> tuple[int, float, int]:
        return self._first[place], self._got[place], place

    def _add(self, place: int, jobs: int) -> None:
        self._got[place] += jobs / (self._weights[place] or 1)


def _families(names: Iterable[str]) -> dict[str, list[str]]:
    """Queues with their sub-queues, by queue, in the given order."""
    families: dict[str, list[str]] = {}
    for name in names:
        families.setdefault(split_priority(name)[0], []).append(name)
    return families


def _matching(families: dict[str, list[str]], pattern: str) -> Iterable[str]:
    """The queues that match a pattern, each family in the order of its priorities."""
    for base, names in families.items():
        whole = fnmatchcase(base, pattern)
        yield from _in_order(name for name in names if whole or fnmatchcase(name, pattern))


def _in_order(family: Iterable[str]) -> list[str]:
    return sorted(family, key=lambda name: -split_priority(name)[1])


def _is_text(name: str) -> bool:
    return name.isascii() or not any("\ud800" <= char <= "\udfff" for char in name)


MANY = 128  # maximum number of queues in an exchange, except for the one look at all


class HotQueues:
    """The hot queues of a pool.

    Attributes:
        told: counts reported changes; passed to `emptied`.
        left_out: they are many, and a job started or ended since all were reported.
    """

    def __init__(self) -> None:
        self.told: int = 0
        self.left_out: bool = False
        self._names: Sequence[str] = ()
        self._rank: dict[str, int] = {}  # in order of priority; empty: they are few
        self._hot: list[str] = []  # in the same order
        self._told_at: dict[str, int] = {}  # for each hot queue
        self._next: Sequence[str] = ()
        self._all = True  # the next look is one at all

    def follow(self, names: Sequence[str]) -> None:
        """Set the queues, in order of priority; new ones may have jobs."""
        if names is self._names:
            return
        before, self._names = self._rank, names
        few = len(names) <= MANY
        self._rank = {} if few else {name: rank for rank, name in enumerate(names)}
        hot = self._told_at.keys() & self._rank.keys() | self._rank.keys() - before.keys()
        self._told_at = {name: self._told_at.get(name, self.told) for name in hot}
        self._hot = sorted(hot, key=self._rank.__getitem__)

    def tell(self, names: Iterable[str]) -> bool:
        """These have changed; returns whether a look is needed."""
        self.told += 1
        known = [name for name in names if name in self._rank]
        for name in known:
            if name not in self._told_at:
                insort(self._hot, name, key=self._rank.__getitem__)
            self._told_at[name] = self.told
        return bool(known or not self._rank)

    def tell_all(self) -> None:
        """Any of them may have changed."""
        self.told += 1
        self.left_out, self._all = False, True
        self._told_at = dict.fromkeys(self._rank, self.told)
        self._hot = list(self._rank)

    def next(self) -> Sequence[str]:
        """What the next exchange names; the same object while it is unchanged."""
        if not self._rank or (self._all and len(self._hot) == len(self._rank)):
            self._all = False
            return self._names
        hot = self._hot[:MANY]
        if hot != self._next:
            self._next = hot
        return self._next

    def emptied(self, names: Iterable[str], told: int) -> bool:
        """An exchange sent when `told` had this value found these empty; returns whether others may have jobs."""
        for name in names:
            if self._told_at.get(name, told + 1) <= told:
                del self._told_at[name]
                del self._hot[bisect_left(self._hot, self._rank[name], key=self._rank.__getitem__)]
        return bool(self._hot)
