"""The tree of errors. The class docstring is the default message; raise with a more specific one where
possible.
"""

from __future__ import annotations

import copyreg
import re
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any


class ResqpyError(Exception):
    """Something went wrong in resqpy."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").splitlines()[0])

    def __reduce__(self) -> tuple[Any, ...]:
        # not by the constructor, whose arguments may be others: pools of processes pickle what a function raises,
        # and break or hang where it can't be made again
        return copyreg.__newobj__, (type(self), *self.args), self.__dict__  # type: ignore[attr-defined]  # the stubs lack it


class UsageError(ResqpyError, ValueError):
    """An argument or a setting is wrong."""


class ShadowRefused(UsageError):
    """A shadow run was about to change something in Redis; nothing was written. Ask `run.shadow` before it."""


class InvalidJob(UsageError):
    """A job's arguments can't be encoded so that every Resque worker can read them."""


class InvalidQueueName(UsageError):
    """A queue name can't be used."""


class InvalidTask(UsageError):
    """A task is not defined correctly."""


class UnknownTask(UsageError):
    """No task of that name is defined."""


class UnknownOption(UsageError):
    """An option is not known."""


class ImportFailed(UsageError):
    """A dotted path can't be imported."""


class PayloadError(ResqpyError):
    """A payload from Redis is not a valid job."""


class StoreError(ResqpyError):
    """Redis answered with an error."""


class StoreUnavailable(StoreError):
    """Redis can't be reached or is not accepting commands now; nothing was written."""


class OutcomeUnknown(StoreError):
    """The connection was lost before Redis replied: the command may or may not have been executed."""


class UnderReplicated(StoreError):
    """It was written, but too few replicas confirmed it in time: a failover now could lose it."""


class StoreMisconfigured(StoreError):
    """This Redis can't be used as configured."""


class EmbeddedRedisError(ResqpyError):
    """The embedded Redis can't be started."""


class QueueFull(ResqpyError):
    """A queue has as many jobs as it may have; nothing was enqueued.

    Attributes:
        queue: its name.
        limit: how many jobs may wait in it.
        enqueued: how many jobs of the same call were enqueued all the same.
    """

    queue: str = ""
    limit: int = 0
    enqueued: int = 0


class DuplicateDelayedJob(ResqpyError):
    """Job already enqueued at this time with same arguments."""


class NotInFailed(ResqpyError):
    """This job is not in failed queue."""


class TaskUnfinished(ResqpyError):
    """A task returned something that still has to run."""


class JobTimeout(ResqpyError):
    """The job ran longer than its time limit."""


class HookTimeout(ResqpyError):
    """A hook of a plugin, a middleware or an initializer exceeded its time limit."""


class JobCancelled(ResqpyError):
    """The running job was cancelled on request."""


class DeadlinePassed(JobCancelled):
    """The job was cut off at its deadline."""


class WorkerStopped(ResqpyError):
    """The worker stopped before the job ended."""


class PoolStateError(ResqpyError):
    """The worker is in a state in which this is not possible."""


class NoEventLoop(UsageError):
    """No event loop is running here, so nothing can be awaited."""


class WrongLoop(UsageError):
    """This belongs to another event loop."""


class ConfigError(UsageError):
    """A setting is wrong."""


class InvalidInputs(UsageError):
    """The inputs of a job don't match what its task declares.

    Attributes:
        fields: what is wrong with each input, by its name.
    """

    fields: Mapping[str, str] = MappingProxyType({})


class NotStarted(ResqpyError):
    """No resqpy process has been started here."""


class LoadFailed(UsageError):
    """The project can't be loaded."""


class Deposed(ResqpyError):
    """Another scheduler is the leader now; nothing was written."""


class WorkerDied(ResqpyError):
    """The worker died while running this job, which may run only once."""


class SnoozedTooOften(ResqpyError):
    """The job was snoozed as often as it may be (`Snooze(most=…)`); it is not retried by itself."""


class PoisonPill(ResqpyError):
    """The job's worker died too often."""


class WrongCursor(UsageError):
    """This cursor belongs to another query."""


# The text of an error, for everything that shows one. Reading it never raises.
#
# `str(error)`, `repr(error)`, the class and the notes run users' code, which may raise anything, even
# `SystemExit`, or return megabytes.

_MAX_CHARS = 10_000  # characters of a message or of one line
_MAX_NOTES = 20


def class_of(error: BaseException) -> str:
    """The name of the error's class."""
    return _asked(lambda: type(error).__qualname__, "class name")


def message_of(error: BaseException) -> str:
    """`str(error)`."""
    return _asked(lambda: str(error), "__str__")


def repr_of(error: BaseException) -> str:
    """`repr(error)`."""
    return _asked(lambda: repr(error), "__repr__")


def told(error: BaseException) -> str:
    """Class and message, as in the last line of a traceback."""
    name, words = class_of(error), message_of(error)
    return f"{name}: {words}" if words else name


def notes_of(error: BaseException) -> list[str]:
    """The error's notes; users' code may have put anything into `__notes__`."""
    try:
        notes: Any = error.__notes__
        whole = [notes] if isinstance(notes, str) else list(notes)[:_MAX_NOTES]
    except BaseException:  # see above
        return []
    return [_asked(partial(str, note), "note") for note in whole]


def add_note(error: BaseException, note: str) -> None:
    """`error.add_note`, if the error accepts one."""
    try:
        error.add_note(note)
    except BaseException:  # see above
        return


def shortened(text: str) -> str:
    """The text, cut to the maximum length."""
    return text if len(text) <= _MAX_CHARS else f"{text[:_MAX_CHARS]}…"


def _asked(ask: Callable[[], Any], what: str) -> str:
    try:
        return shortened(str.__str__(ask()))
    except BaseException as broken:  # see above
        return f"<the error's own {what} raised {type.__getattribute__(type(broken), '__name__')}>"


# Letters and marks that are invisible though `isprintable` accepts them.
_UNSEEN = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)


def printable(text: str, keep: str = "") -> str:
    """The text with invisible characters escaped.

    Args:
        keep: characters to leave as they are, such as a newline.
    """
    if text.isprintable() and (text.isascii() or not _UNSEEN.search(text)):
        return text
    clean = text.encode("utf-8", "backslashreplace").decode()
    return "".join(_escaped(sign) if _bad(sign) and sign not in keep else sign for sign in clean)


def printable_json(text: str) -> str:
    """JSON of the same value, with invisible characters as JSON escapes; they occur in strings only."""
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
