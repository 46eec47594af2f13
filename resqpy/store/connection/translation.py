"""Translates errors of the client library, the socket layer and the server into ours.

What may pass is `StoreUnavailable`: nothing was done. A connection that was lost before the reply is
`OutcomeUnknown` (store/connection/line.py). What waiting can't solve is `StoreMisconfigured`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from redis import exceptions

from resqpy.base.errors import ResqpyError, StoreError, StoreMisconfigured, StoreUnavailable

Command = Sequence[str | bytes | int | float]

WRONG_KIND = "WRONGTYPE"

# Replies that mean: not done, retry later (perhaps elsewhere).
_NOT_NOW = ("LOADING", "BUSY ", "TRYAGAIN", "CLUSTERDOWN", "MASTERDOWN", "NOREPLICAS", "OOM ",
            "MISCONF", "UNKILLABLE", "NOSCRIPT", "ERR max number of clients", "NOMASTERLINK")  # fmt: skip
ELSEWHERE = ("READONLY", "MOVED", "ASK ", "NOREPLICAS", "MASTERDOWN", "CLUSTERDOWN")
_REFUSED_LOGIN = ("NOAUTH", "WRONGPASS")

_BY_CLASS = {
    exceptions.ReadOnlyError: "READONLY",
    exceptions.MovedError: "MOVED",
    exceptions.AskError: "ASK ",
    exceptions.TryAgainError: "TRYAGAIN",
    exceptions.MasterDownError: "MASTERDOWN",
    exceptions.ClusterDownError: "CLUSTERDOWN",
    exceptions.NoPermissionError: "NOPERM",
    exceptions.OutOfMemoryError: "OOM ",
    exceptions.NoScriptError: "NOSCRIPT",
    exceptions.BusyLoadingError: "LOADING",
}

# How Redis 6.2 wraps errors of commands inside a script.
_IN_SCRIPT = re.compile(
    r"^(?:ERR )?(?:Error running script .*?|@user_script: \d+): -([A-Z]+ .*)", re.DOTALL
)

# What it says if the user may not run a command, directly or in a script.
_FORBIDDEN = re.compile(r"^NOPERM|The user executing the script can't|ACL failure in script")

_OTHER_NAME = (
    "its certificate is for another name than this address. Connect by the name in it (with Sentinel: set "
    "`sentinel resolve-hostnames yes` and `sentinel announce-hostnames yes`), or add the address to the "
    "certificate, or disable that check by ssl_check_hostname=False in tasks.connection_options"
)
_NOT_TRUSTED = (
    "its certificate is not trusted: set ssl_ca_certs in tasks.connection_options to the "
    "certificate of its authority"
)
# Texts in errors of the TLS layer, and what to do.
_TLS = {
    "WRONG_VERSION_NUMBER": "it does not use TLS: use redis:// instead of rediss://",
    "match": _OTHER_NAME,
    "certificate": _NOT_TRUSTED,
}


def error_text(error: BaseException) -> str:
    """The server's message including its code, which redis-py removes from some."""
    text = str(error)
    if inside := _IN_SCRIPT.match(text):
        return inside.group(1)
    code = next((code for kind, code in _BY_CLASS.items() if isinstance(error, kind)), "")
    return text if text.startswith(code) else f"{code.strip()} {text}"


def is_forbidden(error: Exception) -> bool:
    """Whether the user lacks the permission."""
    return _FORBIDDEN.search(error_text(error)) is not None


_REMEDIES = {
    "OOM": "; its memory is full: raise its maxmemory, or free some (see resqpy info)",
    "READONLY": "; it is a replica: connect to its primary (redis.url), or use Sentinels or a Cluster",
    "MISCONF": "; its disk is full or its directory is not writable: see its own log",
}
_NO_DATABASE = "; the number at the end of the URL must be below `databases` in its redis.conf"
_LOGIN = "check user and password (redis.url, or redis.user and redis.password)"


def translate(text: str, command: Command = ()) -> StoreError:
    """An error reply of the server as one of our errors.

    Args:
        command: the command, named if it is forbidden; a script by its file and keys.
    """
    if text.startswith(_NOT_NOW + ELSEWHERE):
        remedy = next((words for code, words in _REMEDIES.items() if text.startswith(code)), "")
        return StoreUnavailable(f"Redis did not execute the command: {text}{remedy}")
    if _FORBIDDEN.search(text):
        return StoreMisconfigured(f"Redis forbids this: {text}; {_missing_right(command)}")
    if text.startswith(_REFUSED_LOGIN):
        return StoreMisconfigured(f"Redis rejects the login: {text}; {_LOGIN}")
    if text.startswith(WRONG_KIND):
        return StoreError(
            f"Redis replied: {text}; {_shown(command)!r} met a key that is not Resque's: "
            "find out whose it is, or use another namespace"
        )
    return StoreError(f"Redis replied: {text}")


def translate_connect(error: BaseException, place: str = "Redis") -> ResqpyError:
    """An error that happened before anything was sent, whatever its class.

    Args:
        place: description of the server.
    """
    chain = list(_chain(error))
    for each in chain:
        if isinstance(each, ResqpyError):
            return each
    for each in chain:
        if found := _refusal(each, place):
            return found
    if isinstance(error, TimeoutError | exceptions.TimeoutError):
        return StoreUnavailable(
            f"cannot reach {place}: it accepts connections but does not answer (is "
            "rediss:// right, which uses TLS, or redis://, which doesn't?)"
        )
    return StoreUnavailable(f"cannot reach {place}: {_words(error)}")


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and its causes: redis-py hides the server's message in a cause."""
    seen: list[BaseException] = []
    todo: list[BaseException | None] = [error]
    while todo:
        each = todo.pop(0)
        if each is not None and each not in seen:
            seen.append(each)
            yield each
            todo += [each.__cause__, each.__context__]


def _refusal(error: BaseException, place: str) -> StoreError | None:
    """An error for which waiting does not help, or that the server can't handle now."""
    text = error_text(error)
    if isinstance(error, exceptions.AuthenticationError | exceptions.AuthorizationError):
        return StoreMisconfigured(f"{place} rejects the login: {text}; {_LOGIN}")
    if isinstance(error, exceptions.InvalidResponse | UnicodeDecodeError):
        return StoreMisconfigured(f"the server at {place} is not Redis: {text[:100]}")
    if isinstance(error, exceptions.ResponseError):
        if isinstance(found := translate(text), StoreUnavailable):
            return found
        remedy = _NO_DATABASE if "DB index" in text else ""
        return StoreMisconfigured(f"{place} rejects the connection: {text}{remedy}")
    if "SSL" in text or "certificate" in text:
        return _of_tls(text, place)
    if isinstance(error, exceptions.DataError | TypeError | ValueError):
        return StoreMisconfigured(f"{place} can't be used with these settings: {text}")
    return None


def _of_tls(text: str, place: str) -> StoreError | None:
    remedy = next((remedy for word, remedy in _TLS.items() if word in text), None)
    return None if remedy is None else StoreMisconfigured(f"no TLS with {place}: {remedy} ({text})")


def _words(error: BaseException) -> str:
    text = str(error) or type(error).__name__
    if "max number of clients" in text:
        return f"{text}: raise its maxclients, or find out who keeps connections open"
    return text


def _missing_right(command: Command) -> str:
    """Redis names neither the key nor, in a script, the command; its own log (ACL LOG) does."""
    return (
        f"the user may not run {_shown(command)!r}. `ACL LOG` on the server names the missing key or command; "
        "deploy/redis/users.acl of a new project has the rights of each role"
    )


def _shown(command: Command) -> str:
    """A command and its first key, or a script and its keys, any of which may be the cause; never a payload."""
    shown = command if command[:1] == ("EVALSHA",) else command[:2]
    words = (each.decode(errors="replace") if isinstance(each, bytes) else str(each)
             for each in shown)  # fmt: skip
    return " ".join(words)
