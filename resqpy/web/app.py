"""The console as an ASGI application: checks of each request, who asks, and the handler that answers."""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import Message, Receive, Scope, Send

from resqpy.base.clock import SYSTEM_CLOCK
from resqpy.base.concurrency.own_tasks import OwnTask, own_task
from resqpy.base.errors import (
    OutcomeUnknown,
    StoreError,
    StoreMisconfigured,
    StoreUnavailable,
    UsageError,
    repr_of,
)
from resqpy.base.masking import Redaction
from resqpy.diagnosis.browsing import FailedGroups, failed_groups
from resqpy.diagnosis.checks import Problem
from resqpy.diagnosis.doctor import Diagnosis
from resqpy.engine.inspect.inspector import Resque
from resqpy.engine.options import LeaderOptions
from resqpy.framework.api.api import now
from resqpy.framework.api.schedules import SchedulesApi
from resqpy.framework.api.tracking import TrackedApi
from resqpy.framework.config.config import scheduler_options
from resqpy.framework.process.metrics import Installation
from resqpy.framework.project.place import ProjectDirectory
from resqpy.framework.project.registry import Registry
from resqpy.framework.tasks.spec import TaskSpec
from resqpy.store import history
from resqpy.store.connection.client import Store
from resqpy.store.connection.options import RedisOptions
from resqpy.web.access import Access
from resqpy.web.api.areas import APIS
from resqpy.web.asking import LOOPBACK, SAFE, Refusal, as_asked, check_host, check_origin
from resqpy.web.bulk import BulkRuns
from resqpy.web.live import LiveEvents
from resqpy.web.pages.area import PAGES
from resqpy.web.remembering import Everything, Remembered, SharedPages
from resqpy.web.signin import Sessions
from resqpy.web.tokens import PREFIX, bearer, by_token
from resqpy.web.vault import MemoryVault, RedisVault, Vault
from resqpy.web.visit import Area, Endpoint, Visit

_log = logging.getLogger("resqpy")

Authenticate = Callable[[Request], "Access | Awaitable[Access | None] | None"]

HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "cache-control": "no-store",
}

_CHECKED_S = _GROUPED_S = 30  # what takes long to read is kept so long
_SAMPLE_AT_S = 20  # of a minute: a leader has done it by then

# The first that has a path answers it.
AREAS: list[Area] = [*APIS, PAGES]


@dataclass(frozen=True)
class ConsoleOptions:
    """How the console is served.

    Attributes:
        authenticate: says who sends a request; None: the console's own sessions.
        allowed_hosts: names by which it may be called, without ports; `*` is any.
        read_only: refuse all changes, and write nothing to Redis: sessions live in this process.
        root_path: the path below which a proxy serves it, whether or not it takes it off.
        redaction: hides secrets.
        environment: a name to show, so that nobody takes production for staging.
        registry: the project's tasks; None: those of the process that runs here, if one does.
        leader: Ruby's and Node's settings, as configured for the scheduler.
        timezone: of cron expressions that name none.
    """

    authenticate: Authenticate | None = None
    allowed_hosts: frozenset[str] = LOOPBACK
    read_only: bool = False
    root_path: str = ""
    redaction: Redaction = field(default_factory=Redaction)
    environment: str = ""
    registry: Registry | None = None
    leader: LeaderOptions = field(default_factory=LeaderOptions)
    timezone: str = "UTC"


def console(
    redis: RedisOptions | str | None = None,
    *,
    authenticate: Authenticate,
    root: str | os.PathLike[str] = ".",
    allowed_hosts: Sequence[str] = ("*",),
    read_only: bool = False,
) -> Console:
    """The console, to be mounted in an ASGI application.

        jobs = resqpy.web.console(authenticate=who)
        app.mount("/jobs", jobs)

    Await its `close` where your application ends, to close the connection to Redis.

    Args:
        redis: options or URL; None: the Redis of the project in `root`.
        authenticate: gets Starlette's `Request`; returns who sends it, or None for nobody who may see the
            console. It may be async.
        root: the project's folder.
        allowed_hosts: names by which it may be called; `*`, any, leaves that check to the application.
        read_only: refuse all changes.

    Raises:
        UsageError: no function says who may see it.
        ProjectErrors: the config of the project is wrong.
    """
    if not callable(authenticate):
        raise UsageError(
            "the console must know who may see it: console(authenticate=…), a function that gets a request and "
            "returns resqpy.web.Access(name, role), or None for nobody"
        )
    redaction, leader, zone = Redaction(), LeaderOptions(), "UTC"
    connection: Callable[[], RedisOptions]
    if redis is None:
        place = ProjectDirectory.of(root)
        redaction, connection = Redaction(place.config.logger.filtered), place.connection
        leader, zone = scheduler_options(place.config), place.config.general.timezone
    else:
        given = RedisOptions(url=redis) if isinstance(redis, str) else redis
        connection = lambda: given  # noqa: E731 - as short as its brother above
    options = ConsoleOptions(
        authenticate,
        frozenset(allowed_hosts),
        read_only=read_only,
        redaction=redaction,
        leader=leader,
        timezone=zone,
    )
    return Console(connection, options)


class Console:
    """The application.

    Args:
        connection: says which Redis; it may take a moment, and is asked at the first request.

    Attributes:
        sessions: links and sessions; None where the application says who asks.
        registry: the tasks that are known, once `open` has been called.
        live, installation: events for all who watch, and numbers for all who ask; once `open` has been called.
        problems: what `resqpy doctor` finds without long searches.
        groups: the failed jobs by task and exception.
        everything: all queues, all workers, and what ran.
        pages: what many may watch at once.
        bulk: what is done with many failed jobs in the background.
    """

    def __init__(
        self, connection: Callable[[], RedisOptions], options: ConsoleOptions | None = None
    ) -> None:
        self.options = options or ConsoleOptions()
        self._connection = connection
        self._resque: Resque | None = None
        self.registry: Registry | None = None
        self._tracked: dict[str, TrackedApi] = {}
        self.live: LiveEvents
        self.installation: Installation
        self._opening = asyncio.Lock()
        self.sessions: Sessions | None = None
        self.problems: Remembered[list[Problem]] = Remembered(self._problems, _CHECKED_S)
        self.groups: Remembered[FailedGroups] = Remembered(self._groups, _GROUPED_S)
        self.everything = Everything(lambda: self.resque)
        self._sampling: OwnTask[None] | None = None
        self.pages = SharedPages()
        self.bulk = BulkRuns()
        self._routes = [
            (area, [(each, Route(each.path, _unused, methods=[each.method])) for each in area.endpoints])
            for area in AREAS
        ]  # fmt: skip

    @property
    def resque(self) -> Resque:
        """The Redis, once `open` has been called."""
        assert self._resque is not None
        return self._resque

    @property
    def tasks(self) -> Mapping[str, TaskSpec]:
        """The tasks of the project, by name."""
        return {} if self.registry is None else self.registry.tasks

    def tracked(self, defaults: str = "irontask") -> TrackedApi:
        """Its tracked tasks; new ones have the defaults of this preset."""
        if defaults not in self._tracked:
            store = self.resque.store
            self._tracked[defaults] = TrackedApi(store, self.registry, defaults)
        return self._tracked[defaults]

    @property
    def schedules(self) -> SchedulesApi:
        """What runs by itself, to be changed."""
        registry, options = self.registry or Registry(), self.options
        return SchedulesApi(registry, self.resque, options.timezone, options.leader)

    async def open(self) -> None:
        """Read which Redis it is; nothing is sent yet."""
        async with self._opening:
            if self._resque is None:
                found = await asyncio.to_thread(self._connection)
                here = now()
                running = here.project.registry if here is not None and here.project else None
                known = self.options.registry or running
                self.registry = known if known is not None and known.tasks else None
                self._resque = Resque(found, self.registry.definitions if self.registry else None)
                # who may only read may run no scripts either
                self._resque.store.scripts = not self.options.read_only
                self.live = LiveEvents(self._resque.store, self.everything.numbers, self.pages.news)
                self.installation = Installation(self._resque.store)
                if not self.options.read_only:
                    self._sampling = own_task(
                        self._sample(self._resque.store), "samples for the history"
                    )
                if self.options.authenticate is None:
                    vault: Vault = RedisVault(self._resque.store)
                    vault = MemoryVault() if self.options.read_only else vault
                    self.sessions = Sessions(self._resque.store, vault)

    async def _problems(self) -> list[Problem]:
        return await Diagnosis(self.resque, self.options.leader).problems(quick=True)

    async def _groups(self) -> FailedGroups:
        return await failed_groups(self.resque)

    def forget(self) -> None:
        """Read again what pages show, because something was changed."""
        self.pages.forget()
        self.everything.expire()

    @staticmethod
    async def _sample(store: Store) -> None:
        """Note how long queues are, so that there is a history where no scheduler of resqpy leads."""
        while True:
            await asyncio.sleep(_until_sample_s())
            with suppress(StoreError):
                now_s = await store.time_us() // 1_000_000
                if await history.claim_sample(store, now_s):
                    await history.sample(store, now_s)

    async def close(self) -> None:
        """Close the connection; a later request opens it again."""
        if self._sampling is not None:
            self._sampling.end()
        self.problems.close()
        self.groups.close()
        self.everything.forget()
        self.pages.forget()
        await self.bulk.close()
        found, self._resque = self._resque, None
        if found is not None:
            self.live.end()
        self._tracked.clear()
        if found is not None:
            await found.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            await self._answer(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1000})

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.close()
        await send({"type": "lifespan.shutdown.complete"})

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope = self._below(scope)
        visit = Visit(Request(scope, receive), self)
        area, routes = next((a, r) for a, r in self._routes if a.has(visit.path))
        try:
            await self.open()
            response = await self._handled(visit, routes)
        except Refusal as refusal:
            response = area.refused(visit, refusal)
        except Exception as error:
            response = area.refused(visit, _of_error(as_asked(visit.request, error)))
        await response(scope, receive, _with_headers(send))

    def _below(self, scope: Scope) -> Scope:
        """A scope whose path begins with its root path, as ASGI has it, whatever a proxy does with that."""
        root = scope.get("root_path", "")
        path, base = scope["path"], root + self.options.root_path
        if self.options.root_path and not f"{path}/".startswith(f"{base}/"):
            path = base + path.removeprefix(root)
        elif root and not f"{path}/".startswith(f"{root}/"):
            path = base + path  # a server that takes the root path off
        return {**scope, "path": path, "root_path": base}

    async def _handled(self, visit: Visit, routes: list[tuple[Endpoint, Route]]) -> Response:
        request = visit.request
        check_host(request, self.options.allowed_hosts)
        endpoint = _endpoint(request, routes)
        visit.access = await self.access_of(request)
        if (visit.access is not None or not endpoint.for_programs) and not _has_token(request):
            check_origin(request)
        if endpoint.scope is not None and not visit.who.allows(endpoint.scope):
            raise Refusal(
                403,
                "You may not do this",
                f"It needs the permission {endpoint.scope!r}; you are {visit.who.who} ({visit.who.role}).",
            )
        if endpoint.writes and self.options.read_only:
            raise Refusal(403, "The console is read-only", "It was started with --read-only.")
        if endpoint.shared_s:
            return await self.pages.get(visit, endpoint)
        try:
            return await endpoint.handler(visit)
        finally:
            if request.method not in SAFE:
                self.forget()

    async def access_of(self, request: Request) -> Access | None:
        """Who sends a request: its token says so, a session, or the application around, which may have tokens of
        its own; None: nobody known.

        Raises:
            Refusal: its token is not valid.
        """
        secret, rule = bearer(request.headers.get("authorization", "")), self.options.authenticate
        if secret is not None and (rule is None or secret.startswith(PREFIX)):
            note = not self.options.read_only
            return await by_token(self.resque.store, secret, note=note)
        if rule is not None:
            found = rule(request)
            return await found if inspect.isawaitable(found) else found
        return None if self.sessions is None else await self.sessions.access(request)


def _until_sample_s() -> float:
    return 60 - (SYSTEM_CLOCK.now_ms() / 1000 - _SAMPLE_AT_S) % 60


def _has_token(request: Request) -> bool:
    """No browser sends one by itself, so it comes from no page."""
    return bearer(request.headers.get("authorization", "")) is not None


def _endpoint(request: Request, routes: list[tuple[Endpoint, Route]]) -> Endpoint:
    """The endpoint of a request; its parts of the path are in `request.path_params`."""
    others: set[str] = set()
    for endpoint, route in routes:
        match, child = route.matches(request.scope)
        if match is Match.FULL:
            request.scope.update(child)
            return endpoint
        if match is Match.PARTIAL:
            others.add(endpoint.method)
    if others:
        allowed = ", ".join(sorted(others))
        raise Refusal(405, f"This takes {allowed} only", headers={"allow": allowed})
    raise Refusal(404, "There is no such page")


async def _unused(_request: Request) -> Response:
    raise NotImplementedError  # routes only match


def _of_error(error: Exception) -> Refusal:
    """How an error is told."""
    if isinstance(error, StoreUnavailable):
        return Refusal(503, "Redis can't be reached", str(error), {"retry-after": "5"})
    if isinstance(error, OutcomeUnknown):
        detail = f"It may have happened, or not: look before you try again. {error}"
        return Refusal(504, "Redis did not answer in time", detail)
    if isinstance(error, StoreMisconfigured):
        return Refusal(503, "Redis refuses this", str(error))
    if isinstance(error, StoreError):
        return Refusal(502, "Redis answered with an error", str(error))
    if isinstance(error, UsageError):
        return Refusal(400, "This can't be done", str(error))
    _log.error("the console failed to answer: %s", repr_of(error), exc_info=error)
    return Refusal(500, "The console failed", "Its log has the traceback.")


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return sending
