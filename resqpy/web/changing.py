"""How pages change something: the change is made, and noted with how it went."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from resqpy.base.errors import OutcomeUnknown, class_of
from resqpy.web.asking import Refusal
from resqpy.web.audit import note
from resqpy.web.visit import Visit


async def audited(
    visit: Visit, verb: str, what: str, act: Callable[[], Awaitable[int]], *, undo: str = ""
) -> int:
    """Make a change and note it, also if it fails; returns what it returns: how many were changed.

    Args:
        what: what is changed, for people.
        undo: the id under which what is removed is kept.
    """
    try:
        number = await act()
    except Refusal:
        raise
    except OutcomeUnknown:
        await note(visit, verb, what, outcome="may have happened", undo=undo)
        raise
    except Exception as error:
        await note(visit, verb, what, outcome=f"failed: {class_of(error)}")
        raise
    if number:
        await note(visit, verb, what, count=number, undo=undo)
    else:
        await note(visit, verb, what, outcome="nothing to change")
    return number
