"""Delayed lists without an entry in the index, and entries without a list: left by processes that died
between two writes. They can only be found by scanning all keys, slowly.
"""

from __future__ import annotations

from dataclasses import dataclass

from resqpy.store.connection.client import Store
from resqpy.store.leader import run_fenced
from resqpy.store.promote import FencingToken
from resqpy.store.walk import glob_literal

KEYS_A_STEP = 500
OLD_S = 60


@dataclass(frozen=True, slots=True)
class Mended:
    """Result of one step of the scan.

    Attributes:
        cursor: where the next step begins; 0: the scan is complete.
        found: seconds whose lists were added to the index.
        dropped: entries of the reverse index that led nowhere.
    """

    cursor: int
    found: list[bytes]
    dropped: int


async def mend(store: Store, fencing: FencingToken, cursor: int) -> Mended:
    """One step. One round trip; takes the server about a millisecond."""
    keys = store.keys
    reply = await run_fenced(
        store, fencing.fence, fencing.token, "mend_orphans",
        [keys.schedule, keys.delayed(""), keys.timestamps("")],
        [cursor, KEYS_A_STEP, glob_literal(keys.prefix) + "*", OLD_S],
    )  # fmt: skip
    return Mended(int(reply[0]), reply[1], reply[2])
