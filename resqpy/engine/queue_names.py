"""Which queues a worker works, in which order: names, `*`, shell globs, `!exclusions`.

As Ruby's resque has it: what each pattern finds is sorted bytewise, in the order of the patterns,
and no queue comes twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from resqpy.base.errors import InvalidQueueName
from resqpy.base.keys import Keys

_WILDCARDS = frozenset("*?[]{}")


class QueueNames:
    """The queues of a worker.

    Args:
        specs: names, patterns and exclusions, or one text with commas, as `QUEUES` has it.

    Raises:
        InvalidQueueName: a name that can't stand in a worker's identity.
    """

    def __init__(self, specs: str | Sequence[str] = "*") -> None:
        parts = specs.split(",") if isinstance(specs, str) else list(specs)
        self.specs = tuple(part.strip() for part in parts if part.strip()) or ("*",)
        for spec in self.specs:
            if "," in spec:
                raise InvalidQueueName(
                    f"queue {spec!r}: a comma separates queues; such a queue is worked by '*' only"
                )
        self._excluded = tuple(spec[1:] for spec in self.specs if spec.startswith("!"))
        self._wanted = tuple(spec for spec in self.specs if not spec.startswith("!")) or ("*",)
        self.dynamic = any(_WILDCARDS & set(spec) for spec in self._wanted)
        self._names: list[str] = []
        self.resolve(())

    @property
    def text(self) -> str:
        """As it stands in a worker's id; never changes."""
        return ",".join(self.specs)

    @property
    def names(self) -> list[str]:
        """The queues as last resolved."""
        return self._names

    def resolve(self, known: Iterable[str]) -> list[str]:
        """Find the queues, when these are all there are; names without a pattern count even if
        unknown.

        Returns:
            Those among them that can't be worked, because their names are not UTF-8.
        """
        everything = sorted(known, key=lambda name: name.encode("utf-8", "surrogateescape"))
        found: dict[str, None] = {}
        for spec in self._wanted:
            if _WILDCARDS & set(spec):
                found.update(dict.fromkeys(n for n in everything if fnmatchcase(n, spec)))
            else:
                found[spec] = None
        wanted = [name for name in found if not self._is_excluded(name)]
        self._names = [name for name in wanted if _is_text(name)]
        return [name for name in wanted if not _is_text(name)]

    def _is_excluded(self, name: str) -> bool:
        return any(fnmatchcase(name, pattern) for pattern in self._excluded)

    def prefixes(self, keys: Keys) -> list[str]:
        """Beginnings of the keys whose change may mean work."""
        if self.dynamic:
            return [keys.queue(""), keys.queues, keys.pause]
        return [*map(keys.queue, self._names), keys.pause]


def _is_text(name: str) -> bool:
    return name.isascii() or not any("\ud800" <= char <= "\udfff" for char in name)
