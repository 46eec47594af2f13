"""Workers of all languages, and the schedulers that lead; remove a worker that is gone."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial

from starlette.responses import Response

from resqpy.base.model import WorkerId
from resqpy.base.when import parse_duration
from resqpy.diagnosis.processes import SeenProcess
from resqpy.diagnosis.workers import SeenWorker, all_workers
from resqpy.engine.worker.identity import place_of
from resqpy.store import overview
from resqpy.store.leader import standing
from resqpy.web import changing
from resqpy.web.asking import Refusal
from resqpy.web.changing import audited
from resqpy.web.pages.parts import back, fields_of, number_in, part_of, text_in
from resqpy.web.remembering import oldest
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
    everything = visit.console.everything
    seen = everything.workers
    known, processes, locks, paused, now_ms = await asyncio.gather(
        seen.soon(),
        everything.processes.soon(),
        standing(visit.resque.store, visit.console.options.leader.ruby_lock_prefix),
        overview.is_paused(visit.resque.store),
        visit.resque.now_ms(),
    )
    found = [each for each in known.found if text in each.worker_id.lower()]
    shown = Shown(visit)
    return page(
        visit, "workers", rows=[_row(shown, each, now_ms) for each in found[start : start + _ROWS]],
        total=len(found), working=sum(each.work is not None for each in found), start=start,
        size=_ROWS, text=text_in(visit, "q"), locks=locks, paused=paused,
        read=oldest(seen, everything.processes),
        processes=[each for each in processes if text in f"{each.host}:{each.pid}".lower()][:_ROWS],
    )  # fmt: skip


async def _process(visit: Visit) -> SeenProcess:
    wanted = part_of(visit, "id")
    found = await visit.console.everything.processes.current()
    if (process := next((each for each in found if each.id == wanted), None)) is None:
        raise Refusal(404, "There is no such process", "It has ended, or is none of resqpy.")
    return process


async def process_page(visit: Visit) -> Response:
    """A worker process, and what it can be ordered to do."""
    return page(visit, "process", process=await _process(visit))


async def order_process(visit: Visit) -> Response:
    """Order a worker process to take no more jobs, or to stop."""
    verb, given = visit.request.path_params["verb"], ""
    if verb not in changing.PROCESS_VERBS:
        raise Refusal(404, "There is no such page")
    if verb == "stop":
        given = (await fields_of(visit)).get("within", "").strip()
    timeout_ms = parse_duration(given) if given else None
    answer = await changing.order_process(visit, verb, await _process(visit), timeout_ms)
    if answer is not None and "error" in answer:
        raise Refusal(409, "The process could not do it", str(answer["error"]))
    late = answer is None or "waits" in answer
    return back(visit, "/workers", "unanswered" if late else "ordered")


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
