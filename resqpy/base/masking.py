"""Hiding secrets: the one rule for settings, logs, errors and commands.

A secret is recognized by its name, or by its form: what precedes the `@` of a URL, and values in a URL's
query whose name suggests a secret.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

# Values whose name contains one of these are hidden.
SECRETS = ("password", "passwd", "secret", "token", "api_key", "apikey", "authorization", "cookie")
MASK = "***"
HIDDEN = "[FILTERED]"  # a hidden input
_DEEPEST = 64  # levels; deeper values are not inspected, so they are not shown

# A login extends to the last @ of its word: passwords are written unescaped, with / ? # @ in them. Every
# repetition is bounded, or ends where the next could begin, because texts may have megabytes.
_LOGIN = re.compile(r"://((?:(?!://)[^\s\"'<>`])*)@")
_WHOLE = re.compile(r"(?<=[a-z0-9+.-])://(.*)@", re.IGNORECASE | re.DOTALL)
_USER = re.compile(r"([^:/?#@]*)(:.*)?", re.DOTALL)
_WEB = ("http", "https", "ws", "wss", "ftp")
_PLACE = re.compile(r"(\[[^\]@]*\]|[^:@/?#\[]*)(:\d{0,5})?[/?#]")  # no login before it
_QUERY_WORDS = "|".join((*SECRETS, "signature", "credential", "pwd"))
_QUERY = re.compile(
    rf"([?&#;](?:[^=&#;\s]{{0,60}}(?:{_QUERY_WORDS})[^=&#;\s]{{0,60}}|sig|key|auth)=)[^&#;\s\"'<>`]+",
    re.IGNORECASE,
)


def masked(name: str, value: Any) -> Any:
    """The value for display: stars replace a secret, known by its name, and the password of a URL."""
    if value in (None, "", False) or isinstance(value, int | float):
        return value
    if any(word in name.lower() for word in SECRETS):
        return MASK
    if isinstance(value, str):
        return masked_text(value)
    if isinstance(value, Mapping):
        return {key: masked(str(key), each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(masked("", each) for each in value)
    return value


def masked_url(url: str) -> str:
    """A text that is one URL, with stars for its password, whatever characters that has."""
    return masked_text(_WHOLE.sub(_without_password, url, count=1))


def masked_text(text: str) -> str:
    """Any text, with stars for the passwords in its URLs."""
    if "://" in text:
        text = _LOGIN.sub(_without_password, text)
    if "=" in text and ("?" in text or "&" in text or "#" in text or ";" in text):
        text = _QUERY.sub(rf"\g<1>{MASK}", text)
    return text


def _without_password(found: re.Match[str]) -> str:
    """A URL from after its scheme to its @."""
    scheme, login = found.string[max(0, found.start() - 5) : found.start()], found[1]
    if scheme.lower().endswith(_WEB):
        # their user is often a token, and their path often has an @
        return found[0] if _PLACE.match(login) else f"://{MASK}@"
    user = _USER.fullmatch(login)
    if user is None:
        return f"://{MASK}@"
    return f"://{user[1]}{f':{MASK}' if user[2] else ''}@"


_BEYOND = 10_000  # characters behind a cut


class Redaction:
    """Makes inputs, results and the like safe to show.

    Args:
        words: values whose name contains one of these are hidden.
        max_string, max_items, deepest: longer texts and lists, and deeper values, are cut.
        form: makes of what JSON lacks something that can be looked at in its parts.
    """

    def __init__(
        self,
        words: Sequence[str] = SECRETS,
        max_string: int | None = None,
        max_items: int | None = None,
        deepest: int = _DEEPEST,
        form: Callable[[Any], Any] | None = None,
    ) -> None:
        self._words = tuple(word.lower() for word in words if word)
        self.hides = lru_cache(1024)(self._hides)
        self._pairs = _pairs_of(self._words)
        self._form = form or text_of
        self._ascii = all(word.isascii() for word in self._words)
        self._max_string, self._max_items, self._deepest = max_string, max_items, deepest

    def within(self, *, max_string: int, max_items: int) -> Redaction:
        """The same rule, with longer texts and lists cut."""
        return Redaction(self._words, max_string, max_items, self._deepest, self._form)

    def _hides(self, name: str) -> bool:
        lowered = name.lower()
        for word in self._words:  # noqa: SIM110 - a generator takes twice as long
            if word in lowered:
                return True
        return False

    def text(self, text: str) -> str:
        """Any text, such as an error message: hides secrets in URLs and quoted values after a secret's
        quoted name, as JSON, Python and Ruby write them.
        """
        text = masked_text(text)
        if self._pairs is None or not self._may_have_pairs(text):
            return text
        return self._pairs.sub(rf"\g<before>{HIDDEN}\g<quote>", text)

    def _may_have_pairs(self, text: str) -> bool:
        """A quick look: the search takes fifty times as long. Other letters than ASCII's have several cases."""
        return not (self._ascii and text.isascii()) or self._hides(text)

    def shown(self, value: Any, depth: int = 0) -> Any:
        """The value for display; containers are copied, never returned."""
        if isinstance(value, str):
            most = self._max_string
            # what is cut off anyway is not searched; a secret that begins in the rest is still seen whole
            text = self.text(value if most is None else value[: most + _BEYOND])
            return text if most is None or len(text) <= most else f"{text[:most]}…"
        if value is None or isinstance(value, bool | int | float):
            return value
        if depth >= self._deepest:
            return "…"
        if isinstance(value, tuple) and hasattr(value, "_asdict"):  # a NamedTuple
            value = value._asdict()
        if isinstance(value, Mapping):
            return {
                str(key): HIDDEN if self.hides(str(key)) else self.shown(each, depth + 1)
                for key, each in value.items()
            }
        if isinstance(value, list | tuple):
            most = self._max_items
            kept = [self.shown(each, depth + 1) for each in value[:most]]
            cut = most is not None and len(value) > most
            return [*kept, f"… {len(value)} in all"] if cut else kept
        return self.shown(self._form(value), depth)


@lru_cache(64)
def _pairs_of(words: tuple[str, ...]) -> re.Pattern[str] | None:
    """A quoted name with one of the words, and its quoted value; also with escaped quotes."""
    if not words:
        return None
    name = rf"[^\"'\\\s]{{0,60}}(?:{'|'.join(map(re.escape, words))})[^\"'\\\s]{{0,60}}"
    plain = r"(?:\\.|(?!(?P=quote))[^\\])*"
    escaped = r"(?:(?<=\\)(?P=quote)|(?!(?P=quote)).)*"
    return re.compile(
        rf"(?P<before>(?P<mark>(?P<deep>\\)?\\{{0,7}}[\"']){name}(?P=mark)\s{{0,9}}(?::|=>)\s{{0,9}}"
        rf"(?P<quote>\\{{0,8}}[\"']))(?(deep){escaped}|{plain})(?:(?P=quote)|\Z)",
        re.IGNORECASE | re.DOTALL,
    )


def text_of(value: Any) -> str:
    """Any value as text; a failing repr must not cost the line."""
    try:
        return repr(value)
    except BaseException as error:  # users' code may raise anything
        return f"<a {type(value).__name__} whose repr raised {type(error).__name__}>"
