"""Which queues a worker works, in which order: names, `*`, shell globs, `!exclusions`.

As in Ruby's resque: the matches of each pattern are sorted bytewise, in the order of the patterns, and no
queue occurs twice. A worker of a queue also works its sub-queues of higher and lower priority
(`base/queue_priority.py`), each in its place: `default^5`, `default`, `default^-3`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from resqpy.base.errors import InvalidQueueName
from resqpy.base.keys import Keys
from resqpy.base.queue_priority import split_priority

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
            return [keys.queue(""), keys.queues, keys.pause]
        names = [spec for spec in self._wanted if not self._is_excluded(spec)]
        return [*map(keys.queue, names), keys.queues, keys.pause]


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
