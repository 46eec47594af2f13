"""What is wrong with a Redis URL, told without quoting its login, host and port: where it is malformed, any
of them may be a part of its password.
"""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

SCHEMES = ("redis", "rediss", "unix")
_UNESCAPED = (
    "it can't be told where its password ends: in a password or user, / ? # @ : [ ] and % must be "
    "percent-encoded (write %2F for /, %3F for ?, %23 for #, %40 for @), or give host, user and "
    "password as settings of their own"
)


def problem_of(url: str) -> str | None:
    """What is wrong with a Redis URL; None: nothing."""
    scheme, separator, rest = url.partition("://")
    if not separator or scheme.lower() not in SCHEMES:
        known = ", ".join(f"{each}://" for each in SCHEMES)
        return f"it must specify one of the following schemes: {known}"
    try:
        parts = urlsplit(url)
        port, host = parts.port, parts.hostname
    except ValueError:  # its words quote what it met
        return _UNESCAPED if "@" in rest else "its port is not a number from 1 to 65535"
    if parts.fragment or "@" in parts.query or any(sign < " " for sign in url):
        return _UNESCAPED
    if scheme.lower() == "unix":
        return _UNESCAPED if host else None
    if "@" in parts.path or (host is None and port is not None):
        return _UNESCAPED
    return _problem_of_database(parts.path)


def _problem_of_database(path: str) -> str | None:
    """redis-py takes a database that is no number for database 0: another one than was meant."""
    database = unquote(path).strip("/")
    if database and not (database.isascii() and database.isdigit()):
        return f"the database {database!r} is no number, such as 0"
    return None
