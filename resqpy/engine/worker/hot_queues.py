"""Which queues an exchange names: all if they are few; of many only those that may have jobs.

Each queue costs the exchange something, so with ten thousand queues almost all of its time would go to
empty ones. A queue may have a job if nobody has looked yet, if Redis reported a change, or if the last look
was not completed. A change reported during an exchange counts after it.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Sequence

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
