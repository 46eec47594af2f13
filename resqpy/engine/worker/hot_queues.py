"""Which queues an exchange names: all where they are few; of many only those that may have jobs.

An exchange costs something for each queue that it names, so that with ten thousand queues almost all
of its time would go to empty ones. A queue may have a job when nobody has looked yet, when Redis told
of a change, or when the last look did not come to its end. A change that is told while an exchange is
under way counts after it.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Sequence

MANY = 128  # queues that an exchange names at the most, but in the one look at all of them


class HotQueues:
    """Those of a pool.

    Attributes:
        told: how often anything was told; a number for `emptied`.
        left_out: they are many, and a job began or ended since all were told.
    """

    def __init__(self) -> None:
        self.told: int = 0
        self.left_out: bool = False
        self._names: Sequence[str] = ()
        self._rank: dict[str, int] = {}  # in the order of priority; empty: they are few
        self._hot: list[str] = []  # in that order
        self._told_at: dict[str, int] = {}  # of each that is hot
        self._next: Sequence[str] = ()
        self._all = True  # the next look is one at all

    def follow(self, names: Sequence[str]) -> None:
        """These are the queues, in the order of priority; new ones may have jobs."""
        if names is self._names:
            return
        before, self._names = self._rank, names
        few = len(names) <= MANY
        self._rank = {} if few else {name: rank for rank, name in enumerate(names)}
        hot = self._told_at.keys() & self._rank.keys() | self._rank.keys() - before.keys()
        self._told_at = {name: self._told_at.get(name, self.told) for name in hot}
        self._hot = sorted(hot, key=self._rank.__getitem__)

    def tell(self, names: Iterable[str]) -> bool:
        """These have changed; whether it is worth a look."""
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
        """What the next exchange names; the same object as long as it is the same."""
        if not self._rank or (self._all and len(self._hot) == len(self._rank)):
            self._all = False
            return self._names
        hot = self._hot[:MANY]
        if hot != self._next:
            self._next = hot
        return self._next

    def emptied(self, names: Iterable[str], told: int) -> bool:
        """An exchange that was sent when `told` was so high found these empty; whether others may
        have jobs.
        """
        for name in names:
            if self._told_at.get(name, told + 1) <= told:
                del self._told_at[name]
                del self._hot[bisect_left(self._hot, self._rank[name], key=self._rank.__getitem__)]
        return bool(self._hot)
