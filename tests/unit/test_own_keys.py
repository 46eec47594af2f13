"""Each key of our own has a kind, by which junk there is known."""

from __future__ import annotations

from functools import cached_property

from resqpy.base.keys import Keys
from resqpy.store.repair.junk import own_kinds

NO_KEYS = {"events", "limit_notes"}  # a channel, and the beginning of names


def test_each_key_of_our_own_has_its_kind() -> None:
    """One that is added later is missed here, and not by who finds a stranger's list in it."""
    keys = Keys("ns")
    properties = [name for name, each in vars(Keys).items() if isinstance(each, cached_property)]
    ours = {getattr(keys, name) for name in properties if name not in NO_KEYS}

    assert {key for key in ours if key.startswith("ns:resqpy:")} - set(
        own_kinds(keys, leading=True)
    ) == set()


def test_a_worker_needs_no_keys_of_schedulers() -> None:
    """A user of Redis for workers may not even look at some of them."""
    keys = Keys("ns")

    assert keys.leader not in own_kinds(keys, leading=False)
    assert keys.rescues in own_kinds(keys, leading=False)
