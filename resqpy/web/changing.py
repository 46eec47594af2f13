"""What pages and the API change: each change is made in one place for both, and noted with how it went."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, TypeVar

from resqpy.base import codec, reading
from resqpy.base.errors import NotInFailed, OutcomeUnknown, UnknownTask, UsageError, class_of
from resqpy.base.model import Enqueued, FailedJob
from resqpy.diagnosis import limiting, texts
from resqpy.diagnosis.limiting import LimitChange, Most, Of
from resqpy.diagnosis.processes import SeenProcess, order
from resqpy.diagnosis.workers import failed_id
from resqpy.engine.inspect.schedule_view import ScheduleView
from resqpy.engine.queue.removing import Advancing, why_not_alone
from resqpy.framework.api.schedules import ScheduleChange
from resqpy.store import delayed, failures, queues
from resqpy.store.connection.client import Store
from resqpy.store.sweep import Item
from resqpy.tracked.errors import TaskChanged, TaskStateError, UnknownTaskId
from resqpy.web import tokens, trash
from resqpy.web.asking import Refusal
from resqpy.web.audit import note, note_of
from resqpy.web.jobs import WantedJob, enqueue_wanted
from resqpy.web.signin import remove_user
from resqpy.web.vault import LINK, SESSION
from resqpy.web.visit import Visit

T = TypeVar("T")
_NOTHING_DONE = (Refusal, UsageError, NotInFailed, TaskChanged, TaskStateError, UnknownTaskId)


async def audited(
    visit: Visit,
    verb: str,
    what: str,
    act: Callable[[], Awaitable[T]],
    *,
    undo: str = "",
    always: bool = False,
    noted: bool = False,
    **more: Any,
) -> T:
    """Make a change and note it, also if it breaks off; returns what it returns: whether something was changed, or
    how many were. What is refused is not noted.

    Args:
        what: what is changed, for people.
        undo: the id under which what is removed is kept.
        always: something is changed, whatever is returned: an empty queue is gone too.
        noted: the change itself writes the note of its success.
        more: what else is worth knowing.
    """
    told = partial(note, visit, verb, what, undo=undo)
    try:
        made = await act()
    except _NOTHING_DONE:
        raise
    except OutcomeUnknown:
        await told(outcome="may have happened", **more)
        raise
    except Exception as error:
        await told(outcome=f"failed: {class_of(error)}", **more)
        raise
    if (made or always) and noted:
        return made
    if made or always:
        await told(count=int(made) if made and isinstance(made, int) else None, **more)
    else:
        await note(visit, verb, what, outcome="nothing to change", **more)
    return made


# -- queues and the jobs in them --


async def pause_queue(
    visit: Visit, name: str, reason: str = "", duration_ms: int | None = None
) -> bool:
    """Pause a queue, or change its pause; False if it was paused already."""
    by = visit.who.who
    act = partial(visit.resque.pause_queue, name, duration_ms, reason=reason, by=by)
    return await audited(
        visit, "pause", f"queue {name}", act, always=True, reason=reason, duration_ms=duration_ms
    )


async def resume_queue(visit: Visit, name: str) -> bool:
    """End the pause of a queue; False if it was not paused."""
    return await audited(visit, "resume", f"queue {name}", partial(visit.resque.resume_queue, name))


async def delete_queue(visit: Visit, name: str) -> int:
    """Delete a queue that there is; returns how many jobs it had."""
    act = partial(visit.resque.del_queue, name)
    return await audited(visit, "delete", f"queue {name}", act, always=True)


async def remove_waiting(visit: Visit, name: str, item: Item) -> bool:
    """Remove a job from a queue; False if it was taken meanwhile."""

    async def act() -> bool:
        return bool(await queues.drop(visit.resque.store, name, [item]))

    return await audited(visit, "remove", f"job {_short(item)} of queue {name}", act)


def _short(item: Item) -> str:
    return codec.digest(item.raw)[:10]


# -- worker processes --

PROCESS_VERBS = ("quiet", "stop")
_ANSWER_S = 2.0  # that somebody waits for the answer
OBEYED_MS = 300_000  # a process that is away may obey an order so long


async def order_process(
    visit: Visit, verb: str, process: SeenProcess, timeout_ms: int | None = None
) -> dict[str, Any] | None:
    """Order a worker process to take no more jobs (`quiet`), or to stop; returns its answer. None: there is none
    yet; it may obey within five minutes.

    Args:
        timeout_ms: how long running jobs may go on when it stops; None: as its configuration says.
    """
    args = {} if timeout_ms is None else {"timeout_ms": timeout_ms}

    async def act() -> dict[str, Any] | None:
        by = visit.who.who
        given = await order(
            visit.resque, [process], verb, args, wait_s=_ANSWER_S, valid_ms=OBEYED_MS, by=by
        )
        return given.get(process.id)

    what = f"process {process.host}:{process.pid} ({process.id})"
    return await audited(visit, f"order {verb}", what, act, always=True, timeout_ms=timeout_ms)


# -- failed jobs --


async def retry_failed(visit: Visit, entry: FailedJob, queue: str | None = None) -> bool:
    """Put a failed job back into its queue, or another; False: a plugin or a lock of its task forbids it.

    Raises:
        NotInFailed: it was retried or removed meanwhile.
    """
    act = partial(visit.resque.retry_and_remove_failed, entry, queue)
    what = f"failed job {failed_id(entry)[:10]}"
    made = await audited(visit, "retry", what, act, task=entry.class_name, queue=queue)
    visit.console.groups.forget()
    return made


async def remove_failed(visit: Visit, entry: FailedJob) -> str:
    """Remove a failed job, which is kept for a day; returns the id by which it can be put back, "" if it was gone
    already.
    """
    undo, task = trash.new_id(), entry.class_name
    what = f"failed job {failed_id(entry)[:10]}"
    # what undoes a removal is written with it, or a process that dies in between would leave no way back
    beside = trash.kept_as(undo, note_of(visit, "remove", what, count=1, undo=undo, task=task))

    async def act() -> bool:
        action = failures.EntryAction(entry)
        words = await failures.settle(visit.resque.store, entry.source, [action], beside)
        return words == ["removed"]

    gone = await audited(visit, "remove", what, act, undo=undo, noted=True, task=task)
    visit.console.groups.forget()
    return undo if gone else ""


# -- jobs that are enqueued by hand --


async def enqueue(visit: Visit, wanted: WantedJob, once: str, failed: str | None) -> Enqueued:
    """Enqueue a job, now or for its time.

    Args:
        once: names this very form, which may be sent twice.
        failed: the failed job that it was made from.
    """
    queue, name, _ = wanted.job
    act = partial(enqueue_wanted, visit.resque, wanted, once or None)
    what = f"job {name} in queue {queue}"
    at = texts.iso(wanted.at_ms)
    return await audited(visit, "enqueue", what, act, at=at, in_ms=wanted.in_ms, failed=failed)


# -- delayed jobs --


async def run_delayed(visit: Visit, second: int, item: Item) -> bool:
    """Move a delayed job to its queue; False: a plugin or a lock of its task forbids it, or it is gone.

    Raises:
        Refusal: it can't run alone.
    """
    advancing, job = Advancing(visit.resque), reading.show_delayed(item.raw)
    if why := advancing.why_it_stays(job):
        raise _stays(why)

    async def act() -> bool:
        return bool(await advancing.advance(second, [item]))

    what = f"delayed job {_short(item)} of {second}"
    return await audited(visit, "run now", what, act, task=job.class_name)


async def remove_delayed(visit: Visit, second: int, item: Item) -> bool:
    """Remove a delayed job; False if it is gone already.

    Raises:
        Refusal: it belongs to a tracked task.
    """
    job = reading.show_delayed(item.raw)
    if why := why_not_alone(job):
        raise _stays(why)

    async def act() -> bool:
        return bool(await delayed.drop(visit.resque.store, second, [item]))

    what = f"delayed job {_short(item)} of {second}"
    return await audited(visit, "remove", what, act, task=job.class_name)


def _stays(why: str) -> Refusal:
    return Refusal(409, "This job stays where it is", f"{why[:1].upper()}{why[1:]}.")


# -- who has access --


async def make_link(visit: Visit, role: str) -> str:
    """Make a one-time link; its code.

    Raises:
        UsageError: there is no such role.
    """
    sessions = visit.console.sessions
    assert sessions is not None
    return await audited(visit, "make", f"link of {role}", partial(sessions.new_link, role))


async def make_token(visit: Visit, name: str, scopes: Sequence[str], for_ms: int | None) -> str:
    """Make a token of a program; its secret.

    Raises:
        UsageError: the name or a scope is none, or another token has the name.
    """
    act = partial(tokens.create, visit.resque.store, name, scopes, for_ms=for_ms)
    more = " ".join(scopes)
    return (await audited(visit, "make", f"token {name}", act, scopes=more, in_ms=for_ms))[0]


async def revoke_access(visit: Visit, kind: str, named: str) -> bool:
    """Take access away: `sessions` and `links` by their digest, `tokens`, `users`; False if there is none.

    Raises:
        Refusal: there is no such kind.
    """
    store, sessions = visit.resque.store, visit.console.sessions
    of = {"sessions": SESSION, "links": LINK}
    if kind == "tokens":
        known = [each.name for each in await tokens.every(store) if each.is_called(named)]
        what = ", ".join(known) or named
        return await audited(visit, "revoke", f"token {what}", partial(_revoked, store, named))
    if sessions is None or kind not in (*of, "users"):
        raise Refusal(404, "There is no such page")
    if kind == "users":
        return await audited(visit, "remove", f"user {named}", partial(remove_user, store, named))
    found = [each.note for each in await sessions.every(of[kind]) if each.digest == named]
    what = f"{of[kind]} of {found[0].get('who')}" if found else of[kind]
    return await audited(visit, "revoke", what, partial(sessions.revoke, of[kind], named))


async def _revoked(store: Store, digest: str) -> bool:
    return bool(await tokens.revoke(store, digest))


# -- schedules and tracked tasks --


async def change_schedule(visit: Visit, verb: str, name: str) -> bool:
    """Run, pause or resume what runs by itself; False: nothing was changed, or it may not run.

    Raises:
        Refusal: there is no such schedule.
    """
    view = ScheduleView(visit.resque, visit.console.options.leader)
    act = {"run now": view.trigger, "pause": view.pause, "resume": view.resume}[verb]
    try:
        return await audited(visit, verb, f"schedule {name}", partial(act, name))
    except UnknownTask as error:
        raise Refusal(404, "There is no such schedule", str(error)) from error


async def write_schedule(visit: Visit, verb: str, name: str, **given: Any) -> ScheduleChange:
    """Add, change or remove a schedule that is made at run time, with the arguments of `api.schedules`.

    Raises:
        UsageError: what is wrong; nothing was written.
    """
    write = getattr(visit.console.schedules, verb)
    noted: dict[str, Any] = {
        key: str(value) for key, value in given.items() if key in ("cron", "every", "task")
    }
    return await audited(visit, verb, f"schedule {name}", partial(write, name, **given), **noted)


TASK_VERBS = ("cancel", "retry", "enable", "disable", "remove")


async def change_task(visit: Visit, verb: str, task_id: str) -> Any:
    """Cancel, retry (run now), enable, disable or remove a tracked task; returns what the verb does.

    Raises:
        UnknownTaskId, TaskStateError: there is none, or its status does not allow that.
    """
    act = getattr(visit.console.tracked(), verb)
    return await audited(visit, verb, f"task {task_id}", partial(act, task_id))


# -- limits --


async def set_limit(
    visit: Visit, name: str, most: Most, of: Of = "", *, new: bool = False
) -> LimitChange:
    """Set a limit at run time.

    Raises:
        UnknownLimit: there is no such limit, queue or task.
        UsageError: what else is wrong.
    """
    act = partial(limiting.set_limit, visit.resque, name, most, of, new=new)
    return await _change_limit(visit, "limit", name, act, LimitChange.as_json, of)


async def remove_limit(visit: Visit, name: str, of: Of) -> LimitChange:
    """Remove a limit that was set at run time.

    Raises:
        UnknownLimit: there is none.
    """
    act = partial(limiting.remove_limit, visit.resque, name, of)
    return await _change_limit(visit, "remove limit", name, act, LimitChange.as_json, of)


async def shut_limit(visit: Visit, name: str, for_ms: int) -> int:
    """Let no job under a limit of tasks begin for so long; returns until when (ms).

    Raises:
        UnknownLimit: there is none.
    """
    act = partial(limiting.shut_limit, visit.resque, name, for_ms)
    return await _change_limit(visit, "shut", name, act, lambda until: {"until": texts.iso(until)})


async def open_limit(visit: Visit, name: str) -> None:
    """End that.

    Raises:
        UnknownLimit: there is none, or it is not shut.
    """
    act = partial(limiting.open_limit, visit.resque, name)
    await _change_limit(visit, "open", name, act, lambda _: {})


async def _change_limit(
    visit: Visit,
    verb: str,
    name: str,
    act: Callable[[], Awaitable[T]],
    told: Callable[[T], dict[str, Any]],
    of: Of = "",
) -> T:
    """The note has what it was before: so it can be set back."""
    what = f"queue {name}" if of == "queue" else f"limit {name}"

    async def noted() -> T:
        made = await act()
        await note(visit, verb, what, **told(made))
        return made

    made = await audited(visit, verb, what, noted, always=True, noted=True)
    visit.console.problems.forget()
    return made


async def put_back_parked(visit: Visit, queue: str | None) -> int:
    """Put the jobs that wait for limits back into their queue, or all; returns how many."""
    what = "all queues" if queue is None else f"queue {queue}"
    act = partial(visit.resque.put_back_parked, queue)
    return await audited(visit, "put back", what, act)
