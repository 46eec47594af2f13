"""What several pages share: numbers in queries, the way back after a change."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.responses import RedirectResponse, Response

from resqpy.web.asking import MAX_FORM, Refusal, form_of, named
from resqpy.web.visit import Visit

_LARGEST = 10**11  # a position, a second


def number_in(values: Mapping[str, str], name: str, default: int = 0) -> int:
    """A whole number of a query or form.

    Raises:
        Refusal: it is none, or too large.
    """
    text = values.get(name, "")
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and int(text[:12]) < _LARGEST):
        raise Refusal(400, "This is not a number", f"{name} is {text[:60]!r}.")
    return int(text[:12])


def text_in(visit: Visit, name: str) -> str:
    """A text of the query, "" if it isn't there."""
    return visit.request.query_params.get(name, "")[:1000]


def part_of(visit: Visit, name: str) -> str:
    """A name in the path."""
    return named(visit.request.path_params[name])


async def fields_of(visit: Visit, most: int = MAX_FORM) -> dict[str, str]:
    """The fields of a form of at most so many bytes."""
    return await form_of(visit.request, most)


def back(
    visit: Visit,
    path: str,
    done: str,
    number: int = 1,
    *,
    undo: str = "",
    kept: Mapping[str, str | int | None] | None = None,
) -> Response:
    """To a page, which says what was done, if that is a word of `rendering.DONE`.

    Args:
        kept: the rest of its query.
    """
    told: dict[str, str | int | None] = {"done": done, "n": number} if done else {}
    query: dict[str, str | int | None] = {**(kept or {}), **told}
    return RedirectResponse(visit.url(path, **query, undo=undo or None), 303)
