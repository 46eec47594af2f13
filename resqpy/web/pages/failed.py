"""Failed jobs: groups, entries, one entry; retry, remove, and undo of a removal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from starlette.responses import Response

from resqpy.base.errors import NotInFailed
from resqpy.base.foreign_time import moment_of
from resqpy.base.model import FailedJob
from resqpy.diagnosis.browsing import failed_page, find_failed
from resqpy.engine.inspect.failed_jobs import FailedGroup, Wanted
from resqpy.web import trash
from resqpy.web.asking import Refusal
from resqpy.web.changing import audited, remove_failed, retry_failed
from resqpy.web.jobs import editable_job
from resqpy.web.pages.parts import back, fields_of, number_in, part_of, text_in
from resqpy.web.rendering import page
from resqpy.web.views import WHOLE, FailedRow, Shown, failed_row, first_line
from resqpy.web.visit import Visit

_GROUPS = 100
_PATIENCE_S = 2.0  # for the groups, which are counted in the background
NONE = "(none)"  # stands for a group without a task or exception


@dataclass(frozen=True)
class GroupRow:
    """A group of failed jobs.

    Attributes:
        class_name, exception: as a filter names them.
        error: of the last of them.
    """

    class_name: str
    exception: str
    count: int
    error: str
    first_ms: int | None
    last_ms: int | None
    others: bool


def _group_row(shown: Shown, group: FailedGroup) -> GroupRow:
    return GroupRow(
        group.class_name or NONE,
        group.exception or NONE,
        group.count,
        shown.text(first_line(group.example.error)),
        group.first_ms,
        group.last_ms,
        group.others,
    )


async def groups_page(visit: Visit) -> Response:
    """Failed jobs by task and exception: a few lines for a hundred thousand entries."""
    found, text = await visit.console.groups.get(_PATIENCE_S), text_in(visit, "q").lower()
    if found is None:
        total = await visit.resque.failed_count()
        response = page(visit, "failed_wait", 202, total=total)
        response.headers["refresh"] = "2"
        return response
    shown = Shown(visit)
    rows = [_group_row(shown, each) for each in found.groups]
    rows = [each for each in rows if text in f"{each.class_name} {each.exception}".lower()]
    return page(
        visit,
        "failed",
        rows=rows[:_GROUPS],
        left=max(0, len(rows) - _GROUPS),
        found=found,
        text=text,
        none_word=NONE,
    )


def _filter(values: Mapping[str, str]) -> Wanted:
    """The filter of a query or form."""
    return Wanted.of(*(values.get(name, "") or None for name in ("class", "exception", "queue")))


def _kept(values: Mapping[str, str]) -> dict[str, str | int | None]:
    """The filter, for links."""
    return {name: values.get(name) or None for name in ("class", "exception", "queue", "list")}


async def entries_page(visit: Visit) -> Response:
    """Failed jobs, the newest first."""
    query = visit.request.query_params
    source = query.get("list") or "failed"
    found = await failed_page(visit.resque, source, _filter(query), query.get("before"))
    shown = Shown(visit)
    return page(
        visit,
        "failed_entries",
        rows=[failed_row(shown, at, entry) for at, entry in found.rows],
        found=found,
        source=source,
        total=found.lists.get(source, 0),
        kept=_kept(query),
        is_first="before" not in query,
    )


# -- one entry --


@dataclass(frozen=True)
class EntryView:
    """A failed job.

    Attributes:
        row: as in lists.
        backtrace: from where it was raised to where it was called, or the reverse: as it was written.
        extra: what else stands in its job.
        can_retry: it has a job and names a queue.
        editable: its class and arguments can be changed.
    """

    row: FailedRow
    error: str
    backtrace: str
    args: str | None
    extra: str | None
    retried_ms: int | None
    can_retry: bool
    editable: bool


async def _found(visit: Visit, values: Mapping[str, str]) -> tuple[int, FailedJob]:
    digest = part_of(visit, "digest")
    source = values.get("list") or "failed"
    found = await find_failed(visit.resque, source, digest, number_in(values, "at"))
    if found is None:
        raise Refusal(404, "This failed job is not there any more", "It was retried or removed.")
    return found


async def entry_page(visit: Visit) -> Response:
    """A failed job with its arguments and where it failed."""
    at, entry = await _found(visit, visit.request.query_params)
    shown = Shown(visit)
    payload = entry.payload if isinstance(entry.payload, dict) else {}
    extra = {name: each for name, each in payload.items() if name not in ("class", "args", "queue")}
    view = EntryView(
        row=failed_row(shown, at, entry),
        error=shown.text(entry.error, WHOLE),
        backtrace=shown.text("\n".join(entry.backtrace), WHOLE),
        args=shown.whole_args(entry),
        extra=shown.whole(extra) if extra else None,
        retried_ms=moment_of(entry.retried_at),
        can_retry=bool(entry.queue or payload.get("queue"))
        and (entry.job_raw is not None or entry.unreadable is not None),
        editable=editable_job(entry) is not None,
    )
    return page(visit, "failed_entry", view=view, kept=_kept(visit.request.query_params))


async def retry_entry(visit: Visit) -> Response:
    """Put the job of an entry back into its queue, with its exact bytes."""
    fields = await fields_of(visit)
    _, entry = await _found(visit, fields)
    try:
        done = "retried" if await retry_failed(visit, entry) else "forbidden"
    except NotInFailed:
        done = "gone"
    return back(visit, "/failed/entries", done, kept=_kept(fields))


async def remove_entry(visit: Visit) -> Response:
    """Remove an entry; it can be put back for a day."""
    fields = await fields_of(visit)
    _, entry = await _found(visit, fields)
    undo = await remove_failed(visit, entry)
    done = "removed" if undo else "gone"
    return back(visit, "/failed/entries", done, undo=undo, kept=_kept(fields))


async def undo_removal(visit: Visit) -> Response:
    """Put removed entries back."""
    undo = part_of(visit, "undo")
    number = await audited(
        visit, "undo", f"removal {undo[:20]}", lambda: trash.restore(visit.resque.store, undo)
    )
    visit.console.groups.forget()
    return back(visit, "/failed", "restored" if number else "gone", number)
