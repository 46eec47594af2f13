"""Classes that move between languages while their jobs run: their rules, which the exchange obeys
(`lua/exchange_moves.lua`), are set and read here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from resqpy.base import activejob, codec
from resqpy.base.errors import UsageError
from resqpy.store.connection.client import Arg, Store
from resqpy.store.exchange import Copy
from resqpy.store.limits import number, texts_of
from resqpy.store.queues import decode_name

ALL = 10_000  # of so many jobs the share of a rule are ours
OTHERS = "*@"  # begins the name of the rule of all other classes of a queue
_FIELD, _SHADOW = "{migrate}", "{shadow}"
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
            before and the ends that decided. Of copies for shadow runs `copied` and `passed` (too many came at
            once), and `shadow_…`: how many `succeeded`, `failed`, ended in `other` ways, `unable`: the
            process has no such task, or it does not ask `run.shadow`; `shadow_ms`.
        shadow: of how many of 10,000 jobs that go to `target` a copy runs here in the shadow.
    """

    queue: str
    language: str
    share: int
    over: int
    max_errors: int
    max_ms: int
    counts: Mapping[str, str] = field(default_factory=dict)
    shadow: int = 0

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
    def read(
        cls, text: str, counts: Mapping[str, str], shadow: str | None = None
    ) -> Migration | None:
        """From Redis; None: it is none, and nobody obeys it."""
        found = _RULE.fullmatch(text)
        if found is None or int(found[1]) > ALL:
            return None
        share, over, max_errors, max_ms = map(int, found.groups()[:4])
        copied = min(number(shadow), ALL)
        return cls(found[6], found[5], share, over, max_errors, max_ms, counts, copied)

    @property
    def text(self) -> str:
        """How it is written in Redis."""
        numbers = f"{self.share} {self.over} {self.max_errors} {self.max_ms}"
        return f"{numbers} {self.language} {self.queue}"


async def migrations(store: Store) -> dict[str, Migration]:
    """The rules by class; without those that nobody can read. Two round trips at most."""
    found = await _texts(store)
    texts, shadows = _of(found, _FIELD), _of(found, _SHADOW)
    notes = await store.look([("HGETALL", store.keys.migration(each)) for each in texts])
    read = {
        name: Migration.read(text, texts_of(note), shadows.get(name))
        for (name, text), note in zip(texts.items(), notes, strict=True)
    }
    return {name: each for name, each in sorted(read.items()) if each is not None}


async def _texts(store: Store) -> dict[str, str]:
    [flat] = await store.look([("HGETALL", store.keys.running_limits)])
    return dict(texts_of(flat))


def _of(found: Mapping[str, str], kind: str) -> dict[str, str]:
    return {name.removeprefix(kind): text for name, text in found.items() if name.startswith(kind)}


async def unreadable_migrations(store: Store) -> dict[str, str]:
    """The texts of rules that nobody can read, and so nobody obeys, by class. One round trip."""
    texts = sorted(_of(await _texts(store), _FIELD).items())
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
    keys += [store.keys.shadows(class_name, each) for each in SHADOW_ENDS]
    said: list[Arg] = [class_name, rule.text if rule else "", rule.shadow if rule else 0]
    before = await store.run("migrate", keys, said)
    return None if before is None else decode_name(before)


# Shadow runs: their outcomes are kept for a comparison with those of the other language.

SHADOW_ENDS = ("succeeded", "failed")
_KEPT = 1000


async def note_shadow(
    store: Store,
    copy: Copy,
    ended: str,
    ms: int = 0,
    outcome: Mapping[str, Any] | None = None,
    *,
    passed: int = 0,
) -> None:
    """Note how a shadow run has ended; nothing where the rule has changed since its copy was made.

    Args:
        ended: one of `SHADOW_ENDS`, `other` or `unable`.
        outcome: what is known of it, in JSON.
        passed: so many other copies of the class were not run, for too many came at once.
    """
    keys = [store.keys.migration(copy.class_name), store.keys.shadows(copy.class_name, ended)]
    said = b""
    if outcome is not None:
        said = codec.encode_text({"n": copy.number, "at": copy.at_s, **outcome})
    words: list[Arg] = [copy.since, f"shadow_{ended}", ms, said, _KEPT, passed]
    await store.run("note_shadow", keys, words)


async def shadow_outcomes(store: Store, class_name: str) -> dict[str, list[dict[str, Any]]]:
    """What is known of the last shadow runs of a class, by how they ended, the oldest first. One round trip."""
    keys = [store.keys.shadows(class_name, each) for each in SHADOW_ENDS]
    found = await store.look([("LRANGE", key, -_KEPT, -1) for key in keys])
    read = ([codec.decode_lenient(each) for each in some] for some in found)
    return {
        end: [each for each in some if isinstance(each, dict)]
        for end, some in zip(SHADOW_ENDS, read, strict=True)
    }


def job_key(payload: Mapping[str, Any]) -> str:
    """The same for each spelling of a job: that of its class with its arguments, of Rails' with its id."""
    said: Any = (activejob.class_in(payload), payload.get("args"))
    if activejob.is_wrapper(payload.get("class"), payload.get("args")):
        said = payload["args"][0].get("job_id") or said
    return codec.digest(codec.encode_text(_plain(said)))[:16]


def _plain(value: Any) -> Any:
    """As a reader of JSON sees it whose numbers are doubles, and whose empty lists and objects may be one."""
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return value
    if isinstance(value, int | float):
        return _double(value)
    if isinstance(value, Mapping):
        return {key: _plain(value[key]) for key in sorted(value)} or []
    return [*map(_plain, value)]


def _double(value: float) -> str:
    try:
        return repr(float(value))
    except OverflowError:
        return "inf"
