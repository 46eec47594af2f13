"""The table of pages, and of what their buttons do."""

from __future__ import annotations

from starlette.responses import RedirectResponse, Response

from resqpy.web.access import ADMIN, ENQUEUE, OPERATE
from resqpy.web.asking import SAFE, Refusal
from resqpy.web.pages import (
    auditing,
    bulk,
    delayed,
    enqueueing,
    failed,
    granting,
    limits,
    metrics,
    overview,
    queues,
    schedules,
    server,
    signing,
    tracked,
    workers,
)
from resqpy.web.remembering import CURRENT_S, HISTORY_S
from resqpy.web.rendering import page, static
from resqpy.web.visit import Area, Endpoint, Handler, Visit

_PASSING = (502, 503, 504)  # troubles of Redis


def refused(visit: Visit, refusal: Refusal) -> Response:
    """A refusal as a page; who isn't signed in is led to do so. While Redis is away it tries again by itself."""
    if refusal.status == 401 and visit.console.sessions is not None:
        return RedirectResponse(visit.url("/login"), 303)
    again = refusal.status in _PASSING and visit.request.method in SAFE
    soon = refusal.headers.get("retry-after", "") if again else ""
    response = page(
        visit, "refused", refusal.status, refusal=refusal, again=again and not soon, soon=soon
    )
    response.headers.update(refusal.headers)
    if soon:
        response.headers["refresh"] = soon
    return response


def _open(path: str, handler: Handler, method: str = "GET") -> Endpoint:
    return Endpoint(path, handler, method, scope=None)


def _watched(path: str, handler: Handler, shared_s: float = CURRENT_S) -> Endpoint:
    """A page that many may have open."""
    return Endpoint(path, handler, shared_s=shared_s)


def _change(path: str, handler: Handler, scope: str = OPERATE) -> Endpoint:
    return Endpoint(path, handler, "POST", scope, writes=True)


PAGES = Area(
    "",
    [
        _open("/healthz", overview.healthz),
        _open("/static/{version}/{name}", static),
        _open("/login", signing.login_page),
        _open("/login", signing.login, "POST"),
        _open("/logout", signing.logout, "POST"),
        _watched("/", overview.overview_page),
        _watched("/queues", queues.all_queues),
        _watched("/queues/{name}", queues.one_queue),
        _change("/queues/{name}/pause", queues.pause_queue),
        _change("/queues/{name}/resume", queues.resume_queue),
        _change("/queues/{name}/jobs/{digest}/remove", queues.remove_job),
        Endpoint("/queues/{name}/delete", queues.delete_page, scope=ADMIN),
        _change("/queues/{name}/delete", queues.delete_queue, ADMIN),
        Endpoint("/enqueue", enqueueing.form_page, scope=ENQUEUE),
        _change("/enqueue", enqueueing.enqueue, ENQUEUE),
        _watched("/failed", failed.groups_page),
        Endpoint("/failed/bulk", bulk.bulk_page, scope=OPERATE),
        _change("/failed/bulk", bulk.start),
        Endpoint("/failed/runs", bulk.runs_page),
        Endpoint("/failed/runs/{run}", bulk.run_page),
        _change("/failed/runs/{run}/cancel", bulk.cancel),
        _change("/failed/runs/{run}/go_on", bulk.go_on),
        _change("/failed/undo/{undo}", failed.undo_removal),
        _watched("/failed/entries", failed.entries_page),
        _watched("/failed/entries/{digest}", failed.entry_page),
        _change("/failed/entries/{digest}/retry", failed.retry_entry),
        _change("/failed/entries/{digest}/remove", failed.remove_entry),
        _watched("/delayed", delayed.all_delayed),
        _watched("/delayed/{second}", delayed.one_time),
        _change("/delayed/{second}/{digest}/run", delayed.run_now),
        _change("/delayed/{second}/{digest}/remove", delayed.remove),
        _watched("/schedules", schedules.all_schedules),
        _change("/schedules/{name}/run", schedules.run_schedule),
        _change("/schedules/{name}/pause", schedules.pause_schedule),
        _change("/schedules/{name}/resume", schedules.resume_schedule),
        _watched("/tasks", tracked.all_tasks),
        _watched("/tasks/{id}", tracked.one_task),
        _change("/tasks/{id}/{verb}", tracked.change_task),
        _watched("/workers", workers.all_workers_page),
        _change("/workers/pause", queues.pause_all),
        _change("/workers/resume", queues.resume_all),
        Endpoint("/workers/processes/{id}", workers.process_page, scope=ADMIN),
        _change("/workers/processes/{id}/{verb}", workers.order_process, ADMIN),
        _change("/workers/{id}/remove", workers.clean_worker),
        _change("/workers/{id}/cancel", workers.cancel_job),
        _watched("/limits", limits.limits_page),
        Endpoint("/limits/put_back", limits.put_back_page, scope=OPERATE),
        _change("/limits/put_back", limits.put_back),
        Endpoint("/limits/put_back/{name}", limits.put_back_page, scope=OPERATE),
        _change("/limits/put_back/{name}", limits.put_back),
        Endpoint("/limits/{of}/{name}", limits.change_page, scope=OPERATE),
        _change("/limits/locks/{id}/free", limits.free_lock),
        _change("/limits/{verb}", limits.change),
        _watched("/redis", server.redis_page),
        _watched("/metrics", metrics.metrics_page, HISTORY_S),
        Endpoint("/audit", auditing.audit_page, scope=ADMIN),
        Endpoint("/access", granting.access_page, scope=ADMIN),
        _change("/access/{kind}/make", granting.make, ADMIN),
        _change("/access/{kind}/{id}/revoke", granting.revoke, ADMIN),
    ],
    refused,
)
