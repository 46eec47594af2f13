"""Every error of the client library, the socket layer and TLS becomes one of ours, by whether waiting helps."""

from __future__ import annotations

import asyncio
import errno
import inspect
import socket
import ssl

import pytest
from redis import exceptions

from resqpy.base.errors import StoreError, StoreMisconfigured, StoreUnavailable
from resqpy.store.connection.translation import error_text, translate, translate_connect

WAIT, AT_ONCE = StoreUnavailable, StoreMisconfigured
ROOTS = (exceptions.RedisError, exceptions.RedisClusterException)

# What an error of each class means before a connection is there; how long it is waited.
MEANING = {
    "RedisError": WAIT, "ConnectionError": WAIT, "TimeoutError": WAIT, "BusyLoadingError": WAIT,
    "MaxConnectionsError": WAIT, "MaxClientsError": WAIT, "ReadOnlyError": WAIT, "MovedError": WAIT,
    "AskError": WAIT, "TryAgainError": WAIT, "ClusterDownError": WAIT, "MasterDownError": WAIT,
    "ClusterError": WAIT, "OutOfMemoryError": WAIT, "RedisClusterException": WAIT,
    "SlotNotCoveredError": WAIT, "MasterNotFoundError": WAIT, "SlaveNotFoundError": WAIT,
    "NoScriptError": WAIT, "WatchError": WAIT, "PubSubError": WAIT, "CrossSlotTransactionError": WAIT,
    "InvalidPipelineStack": WAIT, "ChildDeadlockedError": WAIT, "IncorrectPolicyType": WAIT,
    "LockError": AT_ONCE, "LockNotOwnedError": AT_ONCE, "AuthenticationError": AT_ONCE,
    "AuthorizationError": AT_ONCE, "ExternalAuthProviderError": WAIT, "InvalidResponse": AT_ONCE,
    "ResponseError": AT_ONCE, "AuthenticationWrongNumberOfArgsError": AT_ONCE, "DataError": AT_ONCE,
    "NoPermissionError": AT_ONCE, "ModuleError": AT_ONCE, "ExecAbortError": AT_ONCE,
    "ClusterCrossSlotError": AT_ONCE, "NoSuchFieldsetError": AT_ONCE,
}  # fmt: skip


def classes() -> list[type[BaseException]]:
    """All that redis-py can raise."""
    found = {each for each in vars(exceptions).values() if inspect.isclass(each)}
    todo: list[type[BaseException]] = list(ROOTS)
    while todo:
        each = todo.pop()
        found.add(each)
        todo += each.__subclasses__()
    ours = (each for each in found if each.__module__.startswith("redis"))
    return sorted((c for c in ours if issubclass(c, Exception)), key=lambda each: each.__name__)


def made(kind: type[BaseException]) -> BaseException:
    """One of them."""
    try:
        return kind("12182 127.0.0.1:7000")  # as MOVED has it
    except TypeError:
        return kind()


@pytest.mark.parametrize("kind", classes(), ids=lambda each: each.__name__)
def test_each_class_of_the_client_library(kind: type[BaseException]) -> None:
    """A class that a later version adds has no row, and so fails here."""
    assert type(translate_connect(made(kind))) is MEANING[kind.__name__]
    assert isinstance(translate(error_text(made(kind))), StoreError)


@pytest.mark.parametrize(
    ("error", "meaning"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, "refused"), WAIT),
        (ConnectionResetError(errno.ECONNRESET, "reset"), WAIT),
        (BrokenPipeError(errno.EPIPE, "broken"), WAIT),
        (OSError(errno.EHOSTUNREACH, "no route"), WAIT),
        (OSError(errno.ENETUNREACH, "no net"), WAIT),
        (OSError(errno.EMFILE, "too many open files"), WAIT),
        (FileNotFoundError(errno.ENOENT, "no socket"), WAIT),
        (socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"), WAIT),
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), WAIT),
        (TimeoutError(), WAIT),
        (asyncio.IncompleteReadError(b"", 1), WAIT),
        (EOFError(), WAIT),
        (exceptions.ConnectionError("max number of clients reached"), WAIT),
        (exceptions.ResponseError("ERR max number of clients reached"), WAIT),
        (exceptions.ResponseError("NOMASTERLINK Can't SYNC"), WAIT),
        (exceptions.ResponseError("ERR DB index is out of range"), AT_ONCE),
        (exceptions.ResponseError("DENIED Redis is running in protected mode"), AT_ONCE),
        (exceptions.InvalidResponse("Protocol Error: b'HTTP/1.1 400'"), AT_ONCE),
        (ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number"), AT_ONCE),
        (ssl.SSLCertVerificationError(1, "certificate verify failed: self-signed"), AT_ONCE),
        (ssl.SSLCertVerificationError(1, "IP address mismatch, certificate is not valid"), AT_ONCE),
        (ssl.SSLError(1, "[SSL: UNEXPECTED_EOF_WHILE_READING]"), WAIT),
        (TypeError("unexpected keyword argument 'sslca'"), AT_ONCE),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "no"), AT_ONCE),
    ],
    ids=str,
)
def test_each_class_of_the_layers_below(error: Exception, meaning: type[StoreError]) -> None:
    """By itself, and as what the client library hides in a cause."""
    hidden = exceptions.ConnectionError("Error 1 connecting to h:1.")
    hidden.__cause__ = error

    assert type(translate_connect(error)) is meaning
    assert type(translate_connect(hidden)) is meaning


@pytest.mark.parametrize(
    ("words", "remedy"),
    [
        ("IP address mismatch, certificate is not valid for '10.0.0.1'", "resolve-hostnames"),
        ("Hostname mismatch, certificate is not valid for 'h'", "ssl_check_hostname"),
        ("certificate verify failed: unable to get local issuer certificate", "ssl_ca_certs"),
        ("[SSL: WRONG_VERSION_NUMBER] wrong version number", "redis:// instead of rediss://"),
    ],
)
def test_what_to_do_about_tls(words: str, remedy: str) -> None:
    """Each has its remedy."""
    assert remedy in str(translate_connect(ssl.SSLError(1, words)))


def test_words_of_maxclients() -> None:
    """They say which setting of Redis it is."""
    error = exceptions.ConnectionError("max number of clients reached")
    assert "maxclients" in str(translate_connect(error))
