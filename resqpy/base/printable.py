"""Text that somebody else wrote, made fit for a terminal, a log, JSON or a label: what would steer a
terminal, change the direction of writing, or can't be seen is shown by its number.
"""

from __future__ import annotations

import re

# Letters and marks that `isprintable` lets through though nothing is seen of them.
_UNSEEN = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)


def printable(text: str, keep: str = "") -> str:
    """The text with escapes in place of all that can't be seen.

    Args:
        keep: signs to be left as they are, such as a newline.
    """
    if text.isprintable() and (text.isascii() or not _UNSEEN.search(text)):
        return text
    clean = text.encode("utf-8", "backslashreplace").decode()
    return "".join(_escaped(sign) if _bad(sign) and sign not in keep else sign for sign in clean)


def printable_json(text: str) -> str:
    """JSON of the same value: such signs stand in texts only, where JSON has escapes for them."""
    if text.isascii() and "\x7f" not in text:
        return text
    return "".join(_json_escaped(s) if _bad(s) and s not in "\n\r\t" else s for s in text)


def _bad(sign: str) -> bool:
    return not sign.isprintable() or (sign > "\x7f" and _UNSEEN.match(sign) is not None)


def _escaped(sign: str) -> str:
    return sign.encode("unicode_escape").decode()


def _json_escaped(sign: str) -> str:
    units = sign.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))
