"""Delayed lists without an entry in the index, and entries without a list: left by who died between
two writes. There is no index of what is not in the index, so this walks over all keys, slowly.
"""

from __future__ import annotations

from dataclasses import dataclass

from resqpy.store.connection.client import Store
from resqpy.store.leader import run_fenced
from resqpy.store.promote import Right
from resqpy.store.walk import glob_literal

KEYS_A_STEP = 500
OLD_S = 60


@dataclass(frozen=True, slots=True)
class Mended:
    """What one step of the walk did.

    Attributes:
        cursor: where the next step begins; 0: the walk is over.
        found: seconds whose lists are in the index again.
        dropped: entries of the reverse index that led nowhere.
    """

    cursor: int
    found: list[bytes]
    dropped: int


async def mend(store: Store, right: Right, cursor: int) -> Mended:
    """One step. One round trip; about a millisecond of the server."""
    keys = store.keys
    reply = await run_fenced(
        store, right.fence, right.token, "mend_orphans",
        [keys.schedule, keys.delayed(""), keys.timestamps("")],
        [cursor, KEYS_A_STEP, glob_literal(keys.prefix) + "*", OLD_S],
    )  # fmt: skip
    return Mended(int(reply[0]), reply[1], reply[2])
