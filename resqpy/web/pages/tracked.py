"""Tracked tasks: a list with filters, one with its history; cancel, run now, enable, disable, remove."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from starlette.responses import Response

from resqpy.diagnosis import texts
from resqpy.diagnosis.browsing import PAGE
from resqpy.tracked.errors import TaskStateError, UnknownTaskId
from resqpy.tracked.handle import QueryOptions, TrackedTask
from resqpy.tracked.record import TaskStatus
from resqpy.tracked.verbs import CANCELLABLE, RETRIABLE
from resqpy.web import changing
from resqpy.web.asking import Refusal, segment
from resqpy.web.pages.parts import back, part_of, text_in
from resqpy.web.rendering import page
from resqpy.web.views import WHOLE, Shown, cut
from resqpy.web.visit import Visit

STATUSES = [str(each) for each in TaskStatus]


@dataclass(frozen=True)
class TaskRow:
    """A task in a list.

    Attributes:
        changed_ms: when its status last changed.
    """

    id: str
    type: str
    status: str
    queue: str
    payload: str | None
    attempts: int
    tags: Sequence[str]
    created_ms: int | None
    changed_ms: int | None
    next_ms: int | None


def _row(shown: Shown, task: TrackedTask) -> TaskRow:
    return TaskRow(
        task.id, cut(task.type), str(task.status), cut(task.queue), shown.brief(task.payload),
        task.attempts, [cut(each, 40) for each in task.tags[:10]],
        texts.ms_of(task.create_time), texts.ms_of(task.status_changed_time),
        texts.ms_of(task.next_run_time),
    )  # fmt: skip


async def all_tasks(visit: Visit) -> Response:
    """Tracked tasks, the newest first."""
    tracked, given = visit.console.tracked(), _given(visit)
    conditions: QueryOptions = {"sort": "created", "direction": "desc"}
    conditions.update(given)  # type: ignore[typeddict-item]  # named as there
    found = await tracked.query(
        cursor=text_in(visit, "cursor") or None, page_size=PAGE, **conditions
    )
    total = await tracked.count() if not given else None
    shown = Shown(visit)
    rows = [_row(shown, each) for each in found.tasks]
    return page(
        visit, "tasks", rows=rows, cursor=found.cursor, total=total, statuses=STATUSES,
        given={name: text_in(visit, name) for name in ("type", "status", "tag")},
    )  # fmt: skip


def _given(visit: Visit) -> dict[str, Any]:
    """The conditions of the query."""
    given = {"type": text_in(visit, "type"), "status": text_in(visit, "status")}
    tag = text_in(visit, "tag")
    return {
        **{name: each for name, each in given.items() if each},
        **({"tags": [tag]} if tag else {}),
    }


# -- one task --


@dataclass(frozen=True)
class Step:
    """A moment of a task's life.

    Attributes:
        at_ms: None: it has not come.
    """

    words: str
    at_ms: int | None


@dataclass(frozen=True)
class TrackedView:
    """A task.

    Attributes:
        verbs: what its status allows.
        retry_for, retried_by: other tasks of its chain.
    """

    row: TaskRow
    steps: Sequence[Step]
    payload: str | None
    result: str | None
    error: str
    backtrace: str
    properties: Sequence[tuple[str, str]]
    verbs: Sequence[str]
    retry_for: Sequence[str]
    retried_by: str | None
    locked_ms: int | None


_SHOWN = ("queue", "priority", "attempts", "runs", "retries", "retries_remaining", "interval", "timezone",
          "created_by_application", "created_by_user", "lock_duration", "longest_execution", "retain_for",
          "at_most_once")  # fmt: skip
_MILLISECONDS = ("lock_duration", "longest_execution", "retain_for", "interval")


async def _task(visit: Visit) -> TrackedTask:
    task = await visit.console.tracked().get(part_of(visit, "id"))
    if task is None:
        raise Refusal(
            404, "There is no such task", "It was removed, or its time to be kept is over."
        )
    return task


async def one_task(visit: Visit) -> Response:
    """A task with its history."""
    task, shown = await _task(visit), Shown(visit)
    error = task.error
    moments = [
        ("created", task.create_time), ("first start", task.start_time),
        ("run began", task.current_run_start_time), ("ended", task.completed_time),
        ("cancelled", task.cancelled_time), ("next run", task.next_run_time),
        ("kept until", task.retain_until),
    ]  # fmt: skip
    view = TrackedView(
        row=_row(shown, task),
        steps=[Step(words, texts.ms_of(at)) for words, at in moments if at is not None],
        payload=shown.whole(task.payload),
        result=None if task.result is None else shown.whole(task.result),
        error="" if error is None else shown.text(f"{error.name}: {error.message}", WHOLE),
        backtrace="" if error is None else shown.text(_stack(error), WHOLE),
        properties=[
            (name.replace("_", " "), _said(name, value))
            for name in _SHOWN
            if (value := getattr(task, name)) not in (None, (), "")
        ],
        verbs=_verbs(task),
        retry_for=task.retry_for_task_ids,
        retried_by=task.retried_by_task_id,
        locked_ms=texts.ms_of(task.locked_until),
    )
    return page(visit, "task", view=view)


def _said(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    in_ms = name in _MILLISECONDS and isinstance(value, int)
    return texts.duration(value) if in_ms else cut(str(value))


def _stack(error: Any) -> str:
    stack = getattr(error, "stack", "") or ""
    return stack if isinstance(stack, str) else "\n".join(map(str, stack))


def _verbs(task: TrackedTask) -> list[str]:
    switch = "disable" if task.enabled else "enable"
    may = {"retry": task.status in RETRIABLE, "cancel": task.status in CANCELLABLE,
           switch: not task.status.final}  # fmt: skip
    return [*(verb for verb, allowed in may.items() if allowed), "remove"]


async def change_task(visit: Visit) -> Response:
    """Cancel, run now, enable, disable or remove it."""
    task_id, verb = part_of(visit, "id"), visit.request.path_params["verb"]
    if verb not in changing.TASK_VERBS:
        raise Refusal(404, "There is no such page")
    try:
        done = await changing.change_task(visit, verb, task_id)
    except UnknownTaskId as error:
        raise Refusal(404, "There is no such task", str(error)) from error
    except TaskStateError as error:
        raise Refusal(409, "Its status does not allow this", str(error)) from error
    if verb == "remove":
        return back(visit, "/tasks", "removed" if done else "gone")
    return back(visit, f"/tasks/{segment(task_id)}", "changed")
