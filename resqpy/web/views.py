"""What rows of pages show: plain data, cut to a length and without secrets, before a template sees it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from resqpy.base import codec
from resqpy.base.foreign_time import moment_of
from resqpy.base.model import FailedJob, Job, UnreadableJob
from resqpy.diagnosis import texts
from resqpy.diagnosis.workers import SeenWorker, failed_id
from resqpy.framework.tasks.arguments import shown_args
from resqpy.web.access import OPERATE
from resqpy.web.visit import Visit

CUT = 200  # characters of a value in a row
WHOLE = 100_000  # characters of a value on a page of its own


def cut(text: str, most: int = CUT) -> str:
    """A text, or its beginning."""
    return text if len(text) <= most else f"{text[:most]}…"


def first_line(text: str | None) -> str:
    """An error in a row."""
    first, _, more = (text or "").strip().partition("\n")
    return f"{first} …" if more.strip() else first


class Shown:
    """Makes values safe to show to whoever asks: secrets are hidden, and from viewers all arguments are."""

    def __init__(self, visit: Visit) -> None:
        self._redaction = visit.console.options.redaction
        self._brief = self._redaction.within(max_string=CUT, max_items=20)
        self._tasks = visit.console.tasks
        self.arguments: bool = visit.who.allows(OPERATE)

    def text(self, text: str | None, most: int = CUT) -> str:
        """A text in a row."""
        return cut(self._redaction.text(cut(text or "", 4 * most)), most)

    def brief(self, value: Any) -> str | None:
        """Arguments in a row; None: who asks may not see them."""
        if not self.arguments:
            return None
        return cut(texts.compact(self._brief.shown(_single(value)), self._brief))

    def brief_args(self, job: Job | FailedJob | SeenWorker) -> str | None:
        """The arguments of a job in a row, by its task."""
        task = self._tasks.get(job.class_name or "")
        return self.brief(shown_args(task, job.args, self._brief)) if self.arguments else None

    def args_line(self, job: Job) -> str:
        """All arguments of a job, without secrets, as they are looked through; "": who asks may not see them."""
        if not self.arguments:
            return ""
        task = self._tasks.get(job.class_name or "")
        return texts.compact(shown_args(task, job.args, self._redaction), self._redaction)

    def whole_args(self, job: FailedJob) -> str | None:
        """Those of a job on a page of its own."""
        task = self._tasks.get(job.class_name or "")
        return self.whole(shown_args(task, job.args, self._redaction)) if self.arguments else None

    def whole(self, value: Any) -> str | None:
        """Arguments on a page of their own, one name a line; None: who asks may not see them."""
        if not self.arguments:
            return None
        shown = self._redaction.shown(value)
        return cut("\n".join(json_lines(shown, self._redaction)), WHOLE)


def _single(values: Any) -> Any:
    """ActionHero's single object without the list around it."""
    return values[0] if isinstance(values, list) and len(values) == 1 else values


def json_lines(
    value: Any, redaction: Any, indent: str = "", name: str = "", end: str = ""
) -> list[str]:
    """JSON with a line for each part that has parts."""
    if not isinstance(value, (dict, list)) or not value:
        return [f"{indent}{name}{texts.compact(value, redaction)}{end}"]
    pairs: Sequence[tuple[str, Any]]
    if isinstance(value, dict):
        pairs = [(f"{texts.compact(str(key), redaction)}: ", each) for key, each in value.items()]
    else:
        pairs = [("", each) for each in value]
    first, last = "{}" if isinstance(value, dict) else "[]"
    inner = [
        line
        for number, (key, each) in enumerate(pairs, 1)
        for line in json_lines(each, redaction, indent + "  ", key, "," * (number < len(pairs)))
    ]
    return [f"{indent}{name}{first}", *inner, f"{indent}{last}{end}"]


@dataclass(frozen=True)
class JobRow:
    """A job in a list.

    Attributes:
        id: the digest of its bytes.
        at: its position.
        args: None: hidden from who asks.
        problem: why it can't be read.
        task_id: the tracked task that it belongs to.
    """

    id: str
    at: int
    class_name: str
    queue: str
    args: str | None
    problem: str = ""
    task_id: str | None = None


def job_row(shown: Shown, at: int, job: Job) -> JobRow:
    """A waiting or delayed job."""
    if isinstance(job, UnreadableJob):
        problem = f"{len(job.raw):,} bytes: {cut(job.problem)}"
        name = cut(job.class_name)  # that of one which is only too large
        return JobRow(codec.digest(job.raw), at, name, cut(job.queue), None, problem)
    return JobRow(
        codec.digest(job.raw), at, cut(job.class_name), cut(job.queue), shown.brief_args(job),
        task_id=codec.task_id_of(job.args),
    )  # fmt: skip


@dataclass(frozen=True)
class FailedRow:
    """A failed job in a list.

    Attributes:
        id: the digest of its bytes.
        at: its position.
        retried: Ruby has retried it and left it here.
    """

    id: str
    at: int
    source: str
    class_name: str
    queue: str
    args: str | None
    exception: str
    error: str
    failed_ms: int | None
    worker: str
    retried: bool


def failed_row(shown: Shown, at: int, entry: FailedJob) -> FailedRow:
    """A failed job."""
    return FailedRow(
        id=failed_id(entry),
        at=at,
        source=entry.source,
        class_name=cut(entry.class_name or ""),
        queue=cut(entry.queue or ""),
        args=shown.brief_args(entry),
        exception=cut(entry.exception or ""),
        error=shown.text(first_line(entry.error)),
        failed_ms=moment_of(entry.failed_at),
        worker=cut(entry.worker or ""),
        retried=entry.retried_at is not None,
    )
