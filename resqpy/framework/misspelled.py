"""Methods and attributes of users' classes that nobody would call, for want of a letter."""

from __future__ import annotations

from collections.abc import Sequence

from resqpy.base.imports import MISSPELLED, near_match


def misspelled(kind: type, base: type, known: Sequence[str]) -> list[str]:
    """What a person is told of a class: `has 'strat'; did you mean 'start'?`.

    A name that has a known one in it (`restart`) is one of the user's own.
    """
    own = [name for name in vars(kind) if not name.startswith("_") and not hasattr(base, name)]
    hints = [
        (name, near_match(name, known, MISSPELLED))
        for name in own
        if not any(each in name for each in known)
    ]
    return [f"has {name!r}{hint}" for name, hint in hints if hint]
