"""Which queues an exchange names: all if they are few; of many only those that may have jobs.

Each queue costs the exchange something, so with ten thousand queues almost all of its time would go to
empty ones. A queue may have a job if nobody has looked yet, if Redis reported a change, or if the last look
was not completed. A change reported during an exchange counts after it.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from resqpy.base.errors import InvalidQueueName
from resqpy.base.keys import Keys, split_priority

# Which queues a worker works, in which order: names, `*`, shell globs, `!exclusions`.
#
# As in Ruby's resque: the matches of each pattern are sorted bytewise, in the order of the patterns, and no
# queue occurs twice. A worker of a queue also works its sub-queues of higher and lower priority
# (`base/keys.py`), each in its place: `default^5`, `default`, `default^-3`.

_WILDCARDS = frozenset("*?[]{}")


def is_plain(spec: str) -> bool:
    """Whether it is a queue's name: neither pattern nor exclusion."""
    return not (spec.startswith("!") or _WILDCARDS & set(spec))


class QueueNames:
    """The queues of a worker.

    Args:
        specs: names, patterns and exclusions, or one comma-separated text, as in `QUEUES`.

    Attributes:
        known: how many queues there were when they were last resolved, matching or not.

    Raises:
        InvalidQueueName: a name that can't be part of a worker's identity.
    """

    def __init__(self, specs: str | Sequence[str] = "*") -> None:
        parts = specs.split(",") if isinstance(specs, str) else list(specs)
        self.specs: tuple[str, ...] = tuple(part.strip() for part in parts if part.strip()) or (
            "*",
        )
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
        found: dict[str, None] = {}
        for spec in self._wanted:
            if _WILDCARDS & set(spec):
                found.update(dict.fromkeys(_matching(families, spec)))
            else:
                found.update(dict.fromkeys(_in_order([*families.get(spec, ()), spec])))
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
