"""`--redis` with a login in it must not stand in the process list, which everybody on the machine may read."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence

_VARIABLE = "RESQPY_REDIS_URL"
_NAMES = ("--redis", "-r")
_LOGIN = re.compile(r"\w+://.*@", re.DOTALL)


def hide_login() -> None:
    """Where our command line has a Redis URL with a login, run the same program once more in our place,
    with the URL in its environment instead.
    """
    kept, url = without_login(sys.orig_argv)
    if url is not None:
        environ = {**os.environ, _VARIABLE: url}
        os.execve(sys.executable, kept, environ)  # noqa: S606 - the same program


def without_login(arguments: Sequence[str]) -> tuple[list[str], str | None]:
    """A command line without the Redis URLs that have a login, and the last of them."""
    kept: list[str] = []
    url: str | None = None
    for word in arguments:
        if kept and kept[-1] in _NAMES and _LOGIN.match(word):
            kept.pop()
            url = word
            continue
        given = next(
            (word[len(start) :] for start in ("--redis=", "-r") if word.startswith(start)), ""
        )
        if _LOGIN.match(given):
            url = given
        else:
            kept.append(word)
    return kept, url
