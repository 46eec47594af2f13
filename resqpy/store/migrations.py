"""Classes that move between languages while their jobs run: their rules, which the exchange obeys
(`lua/exchange_moves.lua`), are set and read here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from resqpy.base.errors import UsageError
from resqpy.store.connection.client import Store
from resqpy.store.limits import number, texts_of
from resqpy.store.queues import decode_name

ALL = 10_000  # of so many jobs the share of a rule are ours
OTHERS = "*@"  # begins the name of the rule of all other classes of a queue
_FIELD = "{migrate}"
_RULE = re.compile(r"([0-9]{1,5}) ([0-9]{1,12}) ([0-9]{1,5}) ([0-9]{1,12}) (\S+) (.+)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Migration:
    """The rule of a class.

    Attributes:
        share: how many of 10,000 of its jobs in the queue are ours; the others go to `target`.
        language: whose the others are.
        over: after so many ends ours are judged.
        max_errors: how many of 10,000 of them may be errors; then none is ours any more.
        max_ms: how long they may run on average, in milliseconds; 0: however long.
        counts: since the rule was set (`since`, in seconds): `ours` and `theirs` were taken and sent; of ours
            `ended`, `failed`, `ms`; and where they were too bad: `back` (`errors` or `time`), with the share
            before and the ends that decided.
    """

    queue: str
    language: str
    share: int
    over: int
    max_errors: int
    max_ms: int
    counts: Mapping[str, str] = field(default_factory=dict)

    @property
    def target(self) -> str:
        """The queue of the other side."""
        return f"{self.queue}.{self.language}"

    @property
    def back(self) -> str:
        """Why it fell back by itself: `errors` or `time`; empty: it did not."""
        return self.counts.get("back", "")

    def count(self, name: str) -> int:
        """One of the counts."""
        return number(self.counts.get(name))

    @classmethod
    def read(cls, text: str, counts: Mapping[str, str]) -> Migration | None:
        """From Redis; None: it is none, and nobody obeys it."""
        found = _RULE.fullmatch(text)
        if found is None or int(found[1]) > ALL:
            return None
        share, over, max_errors, max_ms = map(int, found.groups()[:4])
        return cls(found[6], found[5], share, over, max_errors, max_ms, counts)

    @property
    def text(self) -> str:
        """How it is written in Redis."""
        numbers = f"{self.share} {self.over} {self.max_errors} {self.max_ms}"
        return f"{numbers} {self.language} {self.queue}"


async def migrations(store: Store) -> dict[str, Migration]:
    """The rules by class; without those that nobody can read. Two round trips at most."""
    texts = await _texts(store)
    notes = await store.look([("HGETALL", store.keys.migration(each)) for each in texts])
    read = {
        name: Migration.read(text, texts_of(note))
        for (name, text), note in zip(texts.items(), notes, strict=True)
    }
    return {name: each for name, each in sorted(read.items()) if each is not None}


async def _texts(store: Store) -> dict[str, str]:
    [flat] = await store.look([("HGETALL", store.keys.running_limits)])
    found = texts_of(flat).items()
    return {name.removeprefix(_FIELD): text for name, text in found if name.startswith(_FIELD)}


async def unreadable_migrations(store: Store) -> dict[str, str]:
    """The texts of rules that nobody can read, and so nobody obeys, by class. One round trip."""
    texts = sorted((await _texts(store)).items())
    return {name: text for name, text in texts if Migration.read(text, {}) is None}


def rule_of(rules: Mapping[str, Migration], class_name: str, queue: str) -> Migration | None:
    """The rule for jobs of a class in a queue: its own, else that of all other classes there."""
    found = (rules.get(class_name), rules.get(f"{OTHERS}{queue}"))
    return next((each for each in found if each is not None and each.queue == queue), None)


async def migrate(store: Store, class_name: str, rule: Migration | None) -> str | None:
    """Set the rule of a class, or end it (None); returns its text before, None: there was none.

    Raises:
        UsageError: nobody would obey it.
    """
    if rule and Migration.read(rule.text, {}) is None:
        words = (
            "a share is at most 10000, other numbers have at most 12 digits, a language no blanks"
        )
        raise UsageError(f"{rule.text!r} is no rule: {words}")
    keys = [store.keys.running_limits, store.keys.limit_notes]
    before = await store.run("migrate", keys, [class_name, rule.text if rule else ""])
    return None if before is None else decode_name(before)
