"""Workers of all languages, and the schedulers that lead; remove a worker that is gone."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial

from starlette.responses import Response

from resqpy.base.model import WorkerId
from resqpy.diagnosis.workers import SeenWorker, all_workers
from resqpy.engine.worker.identity import place_of
from resqpy.store import overview
from resqpy.store.leader import standing
from resqpy.web.asking import Refusal
from resqpy.web.changing import audited
from resqpy.web.pages.parts import back, number_in, part_of, text_in
from resqpy.web.rendering import page
from resqpy.web.views import Shown, cut
from resqpy.web.visit import Visit

_ROWS = 100


@dataclass(frozen=True)
class WorkerRow:
    """A worker.

    Attributes:
        life: `lives`, `silent`, or `can't tell`.
        can_cancel: its job can be asked to end: resqpy's alone.
    """

    id: str
    host: str
    pid: str
    language: str
    queues: str
    state: str
    life: str
    class_name: str
    queue: str
    args: str | None
    began_ms: int | None
    seen_ms: int | None
    can_cancel: bool


def _row(shown: Shown, worker: SeenWorker, now_ms: int) -> WorkerRow:
    host, pid = place_of(WorkerId.parse(worker.worker_id))
    work = worker.work
    return WorkerRow(
        id=worker.worker_id,
        host=cut(host, 60),
        pid=cut(str(pid), 40),
        language=worker.language,
        queues=cut(worker.queues),
        state=worker.state or ("working" if work else "idle"),
        life=worker.life(now_ms),
        class_name=cut(worker.class_name or ("(unreadable)" if work else "")),
        queue=cut((work.queue or "") if work else ""),
        args=shown.brief_args(worker) if work else None,
        began_ms=worker.began_ms,
        seen_ms=worker.seen_ms,
        can_cancel=work is not None and worker.language == "python",
    )


async def all_workers_page(visit: Visit) -> Response:
    """Workers: those at work first, the silent ones last."""
    start, text = number_in(visit.request.query_params, "from"), text_in(visit, "q").lower()
    seen = visit.console.everything.workers
    found, locks, paused, now_ms = await asyncio.gather(
        seen.soon(),
        standing(visit.resque.store, visit.console.options.leader.ruby_lock_prefix),
        overview.is_paused(visit.resque.store),
        visit.resque.now_ms(),
    )
    found = sorted(
        (each for each in found if text in each.worker_id.lower()),
        key=lambda each: (not each.lives(now_ms), each.work is None, each.worker_id),
    )
    shown = Shown(visit)
    return page(
        visit, "workers", rows=[_row(shown, each, now_ms) for each in found[start : start + _ROWS]],
        total=len(found), working=sum(each.work is not None for each in found), start=start,
        size=_ROWS, text=text_in(visit, "q"), locks=locks, paused=paused,
        read=seen.as_of,
    )  # fmt: skip


async def clean_worker(visit: Visit) -> Response:
    """Remove a worker that is gone from all keys; its job goes to the failed list."""
    worker_id, now_ms = part_of(visit, "id"), await visit.resque.now_ms()
    found = await all_workers(visit.resque, [worker_id])
    if not found:
        return back(visit, "/workers", "gone")
    if found[0].lives(now_ms):
        raise Refusal(
            409, "This worker is alive", "It has sent a heartbeat within the last minutes."
        )
    clean = partial(visit.resque.force_clean_worker, worker_id)
    await audited(visit, "remove", f"worker {worker_id}", clean, always=True)
    visit.console.problems.forget()
    return back(visit, "/workers", "cleaned")


async def cancel_job(visit: Visit) -> Response:
    """Ask a worker of resqpy to cancel its job."""
    worker_id = part_of(visit, "id")
    act = partial(visit.resque.cancel_running, worker_id)
    done = await audited(visit, "cancel job", f"worker {worker_id}", act)
    return back(visit, "/workers", "changed" if done else "gone")
