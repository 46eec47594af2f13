"""Logging with structlog: human-readable on a terminal, JSON elsewhere. The only place that configures it.

While a job runs, each line names it: task, queue and worker are added when a line is written, so a job that
logs nothing costs nothing.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Hashable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, TextIO

import structlog
from structlog.processors import TimeStamper

from resqpy.base import codec
from resqpy.base.errors import UsageError, printable, printable_json
from resqpy.base.json_forms import looked_at
from resqpy.base.masking import Redaction, masked_text, text_of
from resqpy.engine.run import current_run
from resqpy.engine.worker.identity import number_of
from resqpy.framework.config.sections import LoggerConfig
from resqpy.framework.logs.writer import LogStream, log_stream

Line = tuple[str, dict[str, Any]]  # an event and its fields

_OF_LINES = ("traceback", "stacks", "exception", "stack", "dump")
_DEEPEST = 4  # displayed levels of a value


def configure(
    config: LoggerConfig, name: str, stream: TextIO | None = None, *, process: int | None = None
) -> None:
    """Set up structlog and the standard library's logging, to write the same lines.

    Args:
        name: the application's, in each JSON line.
        stream: where to write; None: `logger.file`, else standard error.
        process: the number of this process among several of a supervisor, in each line.

    Raises:
        UsageError: `logger.file` can't be written.
    """
    file = _file(config, stream)
    on_terminal = _for_people(config, file)
    said = {} if process is None else {"process": process}
    shared = _shared_processors(name, said, on_terminal=on_terminal)
    renderer = _renderer(on_terminal=on_terminal, colors=file.isatty())
    processors = _Processors([*shared, *renderer])
    processors.file, processors.as_json = file, not on_terminal
    processors.used_with = {
        "wrapper_class": _BoundLogger,
        "logger_factory": lambda *_: _LineLogger(file),
    }
    structlog.configure(processors, cache_logger_on_first_use=False, **processors.used_with)
    if isinstance(file, LogStream):
        file.writer.notice = partial(_lines_were_lost, [*shared, *renderer])
    _configure_standard_library(file, shared, renderer)
    _set_levels(config.level)


class _BoundLogger(structlog.make_filtering_bound_logger(logging.INFO)):  # type: ignore[misc]  # a base that is made
    """Every logger of structlog, so that another level holds for those that exist, too."""


def set_level(level: str) -> None:
    """Write lines of this level and above from now on, whoever logs them.

    Raises:
        UsageError: the application has configured structlog itself.
    """
    if structlog.get_config()["wrapper_class"] is not _BoundLogger:
        raise UsageError(
            "the application configures its logging itself, so resqpy leaves the level alone"
        )
    _set_levels(level)


def _set_levels(level: str) -> None:
    number = getattr(logging, level.upper())
    _BoundLogger.__bases__ = (structlog.make_filtering_bound_logger(number),)
    logging.getLogger().setLevel(number)
    for chatty in ("asyncio", "redis"):
        logging.getLogger(chatty).setLevel(max(number, logging.INFO))


def fills_standard_error(config: LoggerConfig) -> bool:
    """Whether standard error receives the log as JSON: then no plain text may be written to it."""
    return config.file is None and not _for_people(config, sys.stderr)


def _for_people(config: LoggerConfig, file: TextIO) -> bool:
    return config.format == "console" or (config.format == "auto" and file.isatty())


def configure_if_nobody_did(config: LoggerConfig, name: str) -> None:
    """Set up logging unless the surrounding program has configured its own."""
    if not structlog.is_configured():
        configure(config, name)


@contextmanager
def to_standard_library() -> Iterator[None]:
    """Forward all lines to the standard library's logging, where a test runner captures them; unless
    structlog is configured already.
    """
    if structlog.is_configured():
        yield
        return
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.contextvars.merge_contextvars,
            add_job,
            structlog.dev.ConsoleRenderer(colors=False, pad_event_to=0),
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    try:
        yield
    finally:
        structlog.reset_defaults()


def _file(config: LoggerConfig, stream: TextIO | None) -> Any:
    if stream is not None or config.file is None:
        return log_stream(stream or sys.stderr)
    try:
        return LogStream(os.open(config.file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666))
    except OSError as error:
        raise UsageError(f"cannot write the log file: {error}") from error


class _LineLogger:
    """Receives each line from structlog."""

    def __init__(self, file: TextIO) -> None:
        self._write = file.write

    def msg(self, line: str) -> None:
        self._write(f"{line}\n")

    debug = info = warn = warning = error = critical = fatal = exception = log = msg


class _Processors(list[Any]):
    """What `configure` gave to structlog; another list is not ours.

    Attributes:
        file: where the lines go.
        as_json: the lines are JSON.
        used_with: the other settings.
    """

    file: Any
    as_json: bool
    used_with: Mapping[str, Any]


class DirectLines:
    """Lines as structlog writes them, by its processors alone. What they made of a line that many jobs have, each
    with another time and another `ms`, is kept.

    Args:
        processors: as given to structlog.
        level: of the lines.

    Attributes:
        as_json: the lines are JSON.
    """

    MS = 10_001_000_100_001  # stands for the milliseconds while the processors work
    WORDS = "WORDS-10-01-1000"  # for the message of an error
    _TIME = "1000-10-01"  # for the time
    _MOST_KEPT = 1000

    def __init__(self, processors: _Processors, level: str) -> None:
        self._stamp = next(each for each in processors if isinstance(each, TimeStamper))
        self._processors, self._in_use = [*processors], processors
        self._level = level
        self._write = processors.file.write
        self.as_json: bool = processors.as_json
        self._kept: dict[Hashable, tuple[str, ...]] = {}
        self.parts = self._kept.get

    def log(self, event: str, fields: dict[str, Any]) -> bool:
        """Write a line; False: not, because users have changed the processors."""
        if self._in_use != self._processors:
            return False
        text: Any = {**fields, "event": event}
        for each in self._processors:
            text = each(None, self._level, text)
        self._write(f"{text}\n")
        return True

    def time(self) -> str:
        """The time for lines that are written now; empty: they must be logged as others are, because users have
        added fields or changed the processors.
        """
        if structlog.contextvars.get_contextvars() or self._in_use != self._processors:
            return ""
        time: str = self._stamp(None, self._level, {})["timestamp"]
        return time

    def keep(self, key: Hashable, event: str, fields: dict[str, Any]) -> tuple[str, ...]:
        """Keep the parts of a line: before the time, before `ms`, after it; and those before and after `WORDS` in
        the last two. `parts` returns them later.

        Args:
            key: what all other fields depend on.
            fields: with `MS`.
        """
        text: Any = {**fields, "event": event}
        for each in self._processors:
            text = each(None, self._level, text)
            if each is self._stamp:
                text["timestamp"] = self._TIME
        before, _, rest = text.partition(self._TIME)
        between, _, after = rest.rpartition(str(self.MS))
        if len(self._kept) >= self._MOST_KEPT:
            self._kept.clear()
        parts = (before, *between.split(self.WORDS), *f"{after}\n".split(self.WORDS))
        self._kept[key] = parts
        return parts

    def write(self, lines: Sequence[str]) -> None:
        """Write lines that were put together."""
        self._write("".join(lines))


def direct_lines(level: str) -> DirectLines | None:
    """Lines at a level; None if they would differ: somebody else has configured structlog."""
    now = structlog.get_config()
    processors = now["processors"]
    if not isinstance(processors, _Processors):
        return None
    if any(now[name] is not each for name, each in processors.used_with.items()):
        return None
    return DirectLines(processors, level)


def _lines_were_lost(processors: Sequence[Any], count: int, why: str) -> str:
    """The line that reports lost lines; called in any thread, whatever job is running there."""
    line: Any = {"event": f"log lines were lost: {why}", "count": count}
    for each in processors:
        line = each(None, "warning", line)
    return f"{line}\n"


def _shared_processors(name: str, said: Mapping[str, Any], *, on_terminal: bool) -> list[Any]:
    processors: list[Any] = [
        structlog.contextvars.merge_contextvars,
        add_job,
        structlog.processors.add_log_level,
        TimeStamper(fmt="%H:%M:%S.%f" if on_terminal else "iso", utc=not on_terminal),
    ]
    processors.append(_bound(said) if on_terminal else _ordered({"app": name, **said}))
    if on_terminal:
        processors += [structlog.processors.format_exc_info, _fit_for_terminal]
    return processors


def _fit_for_terminal(_logger: Any, _method: str, line: dict[str, Any]) -> dict[str, Any]:
    """Removes passwords in URLs and terminal control sequences; a traceback keeps its lines."""
    fit: dict[str, Any] = {}
    for key, value in line.items():
        keep = "\n\t" if key in _OF_LINES else ""
        fit[key] = printable(masked_text(value), keep) if isinstance(value, str) else value
    if text := fit.pop("traceback", None) or fit.pop("stacks", None):
        fit["exception"] = text  # the renderer shows it on separate lines
    return fit


def _bound(said: Mapping[str, Any]) -> Any:
    """The same fields in each line."""
    return lambda _logger, _method, line: {**said, **line}


def _ordered(said: Mapping[str, Any]) -> Any:
    """The same order in each JSON line: time, level, event, origin."""

    def order(_logger: Any, _method: str, line: dict[str, Any]) -> dict[str, Any]:
        keys: tuple[str, ...] = ("timestamp", "level", "event")
        first = {key: line.pop(key) for key in keys if key in line}
        return {**first, **said, **line}

    return order


def _renderer(*, on_terminal: bool, colors: bool) -> list[Any]:
    if on_terminal:
        plain = structlog.dev.plain_traceback  # already text, about which structlog 25 warns
        return [
            structlog.dev.ConsoleRenderer(colors=colors, pad_event_to=24, exception_formatter=plain)
        ]
    return [
        structlog.processors.format_exc_info,
        lambda _logger, _method, line: printable_json(masked_text(_as_json(line))),
    ]


_as_json = codec.json_for_people(text_of)


def _configure_standard_library(
    file: TextIO, shared: Sequence[Any], renderer: Sequence[Any]
) -> None:
    handler = logging.StreamHandler(file)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderer],
        )
    )
    root = logging.getLogger()
    for old in root.handlers[:]:
        if isinstance(old.formatter, structlog.stdlib.ProcessorFormatter) or _is_basic(old):
            root.removeHandler(old)
    logging.captureWarnings(True)  # noqa: FBT003 - its signature
    root.addHandler(handler)


def _is_basic(handler: logging.Handler) -> bool:
    """Whether it writes to the screen, as set up by `logging.basicConfig`: each line would appear twice."""
    screen = (sys.stderr, sys.stdout, sys.__stderr__, sys.__stdout__)
    return type(handler) is logging.StreamHandler and handler.stream in screen


def add_job(_logger: Any, _method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Add what is known of the job in whose run the line is logged."""
    run = current_run.get(None)
    if run is not None:
        if run.job.class_name:
            line.setdefault("task", run.job.class_name)
        line.setdefault("queue", run.job.queue)
        if run.shadow:
            line.setdefault("shadow", True)
        if "worker" not in line:
            line.update(of_slot(run.slot.number if run.slot else number_of(run.worker_id)))
    return line


def of_slot(number: int) -> dict[str, Any]:
    """The `worker` field: which task processor a line belongs to."""
    return {"worker": f"#{number}"} if number else {}


def get_logger(**bound: Any) -> Any:
    """A structlog logger."""
    return structlog.get_logger(**bound)


class Filter(Redaction):
    """Makes inputs and results safe to log: no secrets, limited length."""

    def __init__(self, config: LoggerConfig) -> None:
        super().__init__(config.filtered, config.max_string, config.max_items, _DEEPEST, looked_at)
