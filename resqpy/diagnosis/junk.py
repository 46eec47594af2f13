"""What `resqpy doctor` finds under the keys that only resqpy knows."""

from __future__ import annotations

from resqpy.diagnosis.problem import Found, Problem
from resqpy.store import junk
from resqpy.store.client import Store
from resqpy.store.undo import Touched, Undo


async def junk_problems(store: Store) -> Found:
    """Keys of another kind than resqpy keeps there."""
    found = await junk.found(store, leading=True)
    if not found:
        return

    async def set_aside() -> int:
        return len(await junk.set_aside(store, leading=True))

    async def fix(undo: Undo) -> int:
        return await undo.watch(Touched(whole=list(found)), set_aside)

    named = ", ".join(f"{key} (a {kind})" for key, kind in found.items())
    yield Problem(
        "junk in our keys",
        f"resqpy keeps something else under {named}",
        f"move it to {store.keys.junk(store.keys.own('…'))}, as a worker or scheduler does that starts",
        fix,
    )
