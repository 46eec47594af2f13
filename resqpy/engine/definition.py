"""What the engine needs to know of a task; built once, immutable. Sync or async is decided here."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import inspect
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import takewhile
from typing import Any, Unpack

from resqpy.base import codec
from resqpy.base.codec import has_record
from resqpy.base.errors import ImportFailed, InvalidTask, TaskUnfinished, UnknownOption, UsageError
from resqpy.base.imports import import_dotted, near_match
from resqpy.base.keys import Keys
from resqpy.base.limits import AnyLimit, limits_of
from resqpy.base.model import Job
from resqpy.base.periodic import Periodic, Timing, periodic_of
from resqpy.base.when import Duration, duration_ms, duration_s
from resqpy.engine.lifecycle import JobLifecycle
from resqpy.engine.plugin import (
    DEQUEUE_HOOKS,
    ENQUEUE_HOOKS,
    PERFORM_HOOKS,
    Lasting,
    Plugin,
    in_one_step,
    overrides,
)
from resqpy.engine.run import Run
from resqpy.store.exchange import FREED, HELD, ClaimExtension

# What a task returned: its result, or something that still has to run, which is not a success.
#
# | returned | by a plain function | by an async one |
# |---|---|---|
# | a coroutine | awaited: it is a plain function around an async one | the job fails: an `await` is missing |
# | a future or task of the worker's loop, or of `concurrent.futures` | awaited | awaited |
# | a generator, a future of another loop, anything else to be awaited | the job fails | the job fails |

# Types of finished results, for a quick check by callers: that saves a coroutine per job.
NEED_NO_LOOK = frozenset({type(None), bool, int, float, str, bytes, list, dict, tuple})


async def finished(result: object, *, plain: bool) -> object:
    """The result, once nothing of it still has to run.

    Args:
        plain: it was returned by a plain function, not by an async one.

    Raises:
        TaskUnfinished: what it is, and what to do.
    """
    if type(result) in NEED_NO_LOOK:
        return result
    if plain and isinstance(result, Coroutine):
        result = await result
    while (future := _future_of(result)) is not None:
        result = await future
    if message := unfinished(result):
        raise TaskUnfinished(f"the task returned {message}")
    return result


def _future_of(result: object) -> asyncio.Future[Any] | None:
    """A future that this loop can wait for."""
    if isinstance(result, concurrent.futures.Future):
        return asyncio.wrap_future(result)
    here = isinstance(result, asyncio.Future) and result.get_loop() is asyncio.get_running_loop()
    return result if here and isinstance(result, asyncio.Future) else None


def unfinished(result: object) -> str:
    """What a result is, if it still has to run, and what to do; an empty text for any other. It is closed."""
    message = _unfinished(result)
    if message:
        _close(result)
    return message


def _unfinished(result: object) -> str:
    if inspect.isgenerator(result) or inspect.isasyncgen(result):
        return (
            "a generator, so nothing of it ran: it has a yield, perhaps behind a decorator or in a function "
            "that it calls; exhaust it, and return a value"
        )
    if isinstance(result, Coroutine):
        return (
            "a coroutine, so nothing of it ran: an await is missing, in the task or in the wrapper of a "
            "decorator (`return await function(…)`)"
        )
    if isinstance(result, asyncio.Future):
        return "a future of another event loop, which can't be awaited here; return its result"
    if inspect.isawaitable(result):
        return f"a {type(result).__name__}, which still has to be awaited: await it in the task"
    return ""


def _close(result: object) -> None:
    """It never runs, so Python need not warn about a coroutine that was never awaited."""
    close = getattr(result, "close", None)
    if callable(close) and not inspect.isasyncgen(result):
        with contextlib.suppress(Exception):  # e.g. of its own `finally`
            close()


def yields(function: Any) -> bool:
    """Whether calling a function, or an object, returns a generator and runs nothing."""
    own = getattr(type(function), "__call__", None)  # noqa: B004 - that of an object
    return any(
        inspect.isgeneratorfunction(each) or inspect.isasyncgenfunction(each)
        for each in (function, own)
    )


PluginSpec = str | type[Plugin] | Plugin
Perform = Callable[..., Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRules:
    """Properties of a task that workers obey; `resqpy.Task` has them under the same names.

    Attributes:
        at_most_once: a run that has started is never repeated.
        end_children: processes started by a run are ended when the run is cut off.
        limit: how many of them run at once, or begin in a time.
        shadow: it asks `run.shadow` before it has an effect outside, so `resqpy migrate … --shadow` may run it.
    """

    at_most_once: bool = False
    end_children: bool = False
    limit: tuple[AnyLimit, ...] = ()
    shadow: bool = False


class Keywords(Timing, total=False):
    """The same for `define`, and what makes a task periodic."""

    at_most_once: bool
    end_children: bool
    limit: AnyLimit | Sequence[AnyLimit]
    shadow: bool


RULES = tuple(each.name for each in fields(RunRules))


@dataclass(frozen=True, slots=True)
class Definition(RunRules):
    """A task, ready to run.

    Attributes:
        perform: called with the job's arguments.
        is_async: it is awaited on the loop; otherwise it runs in a thread.
        around: the plugins that take part in the run, outermost first.
        enqueue_hooks: the plugins with enqueue hooks.
        dequeue_hooks: those with dequeue hooks.
        guarding: the plugins with locks that are checked in Redis while pushing.
        time_limit_s: seconds until a run is cancelled and fails.
        queue: where its jobs go, if specified.
        periodic: how it runs by itself; None: it doesn't.
        version: identifies the inputs that it takes; empty if unknown.
        check: makes JSON of arguments that are to be enqueued, or raises a `UsageError`; None: they are
            JSON, and it accepts any.
        ends: what its jobs have when they are enqueued: `codec.EXPIRES` and `codec.DEADLINE` with milliseconds.
        at_take: what the exchange that takes a job does for the outermost plugins, where no other comes before.
        locks: the `JobClaim.locks` of a job for which it has done all that.
        hold: of the plugin that has something to hold during a run; None: none has.
        succeeding: what the plugins have to do of a run that was `direct` and has succeeded.
        direct: a run only calls `perform` before it ends: no time limit, no mark, no plugin has to begin.
        bare: a successful run writes nothing at its end.
    """

    name: str
    perform: Perform
    is_async: bool
    plugins: tuple[Plugin, ...] = ()
    around: tuple[Plugin, ...] = ()
    enqueue_hooks: tuple[Plugin, ...] = ()
    dequeue_hooks: tuple[Plugin, ...] = ()
    guarding: tuple[Plugin, ...] = ()
    time_limit_s: float | None = None
    queue: str | None = None
    periodic: Periodic | None = None
    version: str = ""
    check: Callable[[Sequence[Any]], list[Any]] | None = None
    ends: tuple[tuple[str, int], ...] = ()
    at_take: str = field(init=False)
    locks: int = field(init=False)
    hold: Callable[[Run], Lasting | None] | None = field(init=False)
    succeeding: tuple[Callable[[Run], None], ...] = field(init=False)
    direct: bool = field(init=False)
    bare: bool = field(init=False)

    def __post_init__(self) -> None:
        """Compute what would otherwise be checked for each run."""
        bare = not self.at_most_once and self.periodic is None
        first = tuple(takewhile(in_one_step, self.around))
        queue = any(plugin.at_take == "q" for plugin in first)
        held = [plugin for plugin in first if plugin.at_take not in {"", "q"}]
        quick = len(first) == len(self.around) and len(held) <= 1
        for name, value in {
            "at_take": "q" * queue + (held[0].at_take or "" if held else ""),
            "locks": FREED * queue | HELD * bool(held),
            "hold": held[0].hold if held else None,
            "succeeding": tuple(plugin.around_success for plugin in first),
            "bare": bare,
            "direct": quick and not self.at_most_once and self.time_limit_s is None,
        }.items():
            object.__setattr__(self, name, value)


class Definitions(Mapping[str, Definition]):
    """Tasks by name, and what runs other jobs.

    Args:
        fallback: makes a definition for such a job; None: the job fails because its task is unknown.
        lifecycle: what their jobs may have beside them.
        without_record: the same tasks for jobs that have no record; None: they are no others.
    """

    __slots__ = ("_fallback", "_known", "_without_record", "lifecycle")

    def __init__(
        self,
        known: Mapping[str, Definition],
        fallback: Callable[[Job], Definition | None] = lambda _: None,
        *,
        lifecycle: type[JobLifecycle] = JobLifecycle,
        without_record: Mapping[str, Definition] | None = None,
    ) -> None:
        self._known = dict(known)
        self._without_record = without_record
        self._fallback = fallback
        self.lifecycle = lifecycle

    def __getitem__(self, name: str) -> Definition:
        return self._known[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)

    def named(self, name: str) -> Definition | None:
        """As `get`, whose way over an exception is longer than all else of an enqueue's checks."""
        return self._known.get(name)

    def takes_along(self, keys: Keys) -> ClaimExtension:
        """What an exchange does with a job that it takes."""
        tasks = self._known if self._without_record is None else self._without_record
        lines = [
            f"{name}\t{task.at_take}\n"
            for name, task in tasks.items()
            if task.at_take and name.isprintable() and name.strip()
        ]
        locks = "".join(["\n", *lines] if lines else [])
        return (self.lifecycle.takes_along(keys) or ClaimExtension())._replace(locks=locks)

    def of(self, job: Job) -> Definition | None:
        """The definition that runs a job."""
        known: Mapping[str, Definition] = self._known
        if self._without_record is not None and not has_record(job.args):
            known = self._without_record
        return known.get(job.class_name) or self._fallback(job)


BUILT_IN = "resqpy.plugins"  # the package above, so by name


def define(
    name: str,
    perform: Perform,
    *,
    plugins: Sequence[PluginSpec] = (),
    plugin_options: Mapping[str, Mapping[str, Any]] | None = None,
    time_limit: Duration | None = None,
    expires: Duration | None = None,
    deadline: Duration | None = None,
    version: str = "",
    check: Callable[[Sequence[Any]], list[Any]] | None = None,
    **more: Unpack[Keywords],
) -> Definition:
    """Make a definition.

    Args:
        plugins: names of built-in ones ("JobLock"), dotted paths, classes or instances; the first is the
            outermost.
        plugin_options: by plugin name.
        time_limit: milliseconds or a timedelta.
        expires, deadline: milliseconds or a timedelta; see `resqpy.Task`.
        version: identifies the inputs that it takes.
        check: makes JSON of arguments that are to be enqueued, or raises a `UsageError`.
        more: the rules of `RunRules`, and what makes it periodic, `frequency=1000` or `cron="0 9 * * *"`;
            see `periodic_of`.

    Raises:
        InvalidTask, UnknownOption, ImportFailed: what is wrong, with the nearest known name.
    """
    rules = _rules(name, more)
    _check_perform(name, perform, end_children=more.get("end_children", False))
    options = dict(plugin_options or {})
    made = tuple(_make_plugin(spec, options, name) for spec in plugins)
    if unused := set(options) - {plugin.name for plugin in made}:
        wrong = min(unused)
        hint = near_match(wrong, [plugin.name for plugin in made])
        raise UnknownOption(f"task {name!r}: options for {wrong!r}, a plugin it doesn't use{hint}")
    return Definition(
        name=name,
        perform=perform,
        is_async=is_async(perform),
        plugins=made,
        around=_around(made),
        enqueue_hooks=tuple(p for p in made if overrides(p, *ENQUEUE_HOOKS)),
        dequeue_hooks=tuple(p for p in made if overrides(p, *DEQUEUE_HOOKS)),
        guarding=tuple(p for p in made if overrides(p, "guards")),
        time_limit_s=None if time_limit is None else duration_s(time_limit, "time_limit"),
        queue=more.get("queue"),
        periodic=_periodic(name, more),
        version=version,
        check=check,
        ends=_ends(name, {codec.EXPIRES: expires, codec.DEADLINE: deadline}, more),
        **rules,
    )


def _rules(name: str, more: Keywords) -> Any:
    rules: Any = {rule: more[rule] for rule in RULES if rule in more}  # type: ignore[literal-required]  # its keys
    try:
        return {**rules, "limit": limits_of(more.get("limit", ()), name)}
    except UsageError as error:
        raise InvalidTask(f"task {name!r}: {error}") from error


_FIELDS = {*inspect.signature(define).parameters, *Keywords.__annotations__} - {
    *("name", "version", "check", "more")
}


def _check_perform(name: str, perform: Any, *, end_children: bool) -> None:
    if not callable(perform):
        raise InvalidTask(f"task {name!r}: perform is {perform!r}, not a function")
    if yields(perform):
        raise InvalidTask(f"task {name!r}: perform is a generator; calling it would run nothing")
    if end_children and is_async(perform):
        raise InvalidTask(
            f"task {name!r}: end_children is for plain functions; a coroutine's child "
            "processes can't be told from those of other jobs, so end them in a `finally`"
        )


def _periodic(name: str, timing: Timing) -> Periodic | None:
    try:
        return periodic_of(timing)
    except UsageError as error:
        raise InvalidTask(f"task {name!r}: {error}") from error


PERIODIC_HINT = "those of a periodic task come by its schedule: see its `missed`"


def _ends(
    name: str, given: Mapping[str, Duration | None], timing: Timing
) -> tuple[tuple[str, int], ...]:
    ends: list[tuple[str, int]] = []
    for key, value in given.items():
        what = key.removeprefix("resqpy_")
        if value is None:
            continue
        if not (ms := duration_ms(value, what)):
            raise InvalidTask(
                f"task {name!r}: {what} is {value!r}, so no job could run; None: never"
            )
        if timing.get("frequency") or timing.get("cron"):
            message = f"{what} is for jobs that somebody enqueues; {PERIODIC_HINT}"
            raise InvalidTask(f"task {name!r}: {message}")
        ends.append((key, ms))
    return tuple(ends)


def is_async(perform: Perform) -> bool:
    """Whether a function or callable object must be awaited."""
    if isinstance(perform, type):  # calling it makes an instance; its own __call__ is irrelevant
        return False
    call = getattr(perform, "__call__", None)  # noqa: B004 - an object whose __call__ is async
    return inspect.iscoroutinefunction(perform) or inspect.iscoroutinefunction(call)


def _around(plugins: Sequence[Plugin]) -> tuple[Plugin, ...]:
    """The plugins of a run, outermost first."""
    own = [plugin for plugin in plugins if overrides(plugin, *PERFORM_HOOKS)]
    return tuple(sorted(own, key=lambda plugin: -plugin.rank))


def _make_plugin(spec: PluginSpec, options: Mapping[str, Mapping[str, Any]], task: str) -> Plugin:
    if isinstance(spec, Plugin):
        if spec.name in options:
            raise InvalidTask(
                f"task {task!r}: {spec.name} is an instance, which already has its options; "
                "pass the class, or no plugin_options for it"
            )
        return spec
    try:
        found = _find_plugin(spec) if isinstance(spec, str) else spec
        if isinstance(found, type) and issubclass(found, Plugin):
            return found(options.get(found.__name__))
    except UsageError as error:
        raise type(error)(f"task {task!r}: {error}") from error
    raise InvalidTask(f"task {task!r}: {found!r} is not a plugin (a class derived from Plugin)")


def _find_plugin(name: str) -> Any:
    """The plugin for a built-in name or a dotted path."""
    if "." in name or ":" in name:
        return import_dotted(name)
    built_in: list[str] = import_dotted(f"{BUILT_IN}:__all__")
    if name not in built_in:
        raise ImportFailed(
            f"no plugin is named {name!r}{near_match(name, built_in)} (built in: "
            f"{', '.join(built_in)}; for your own, give the dotted path)"
        )
    return import_dotted(f"{BUILT_IN}.{name}")


def definitions(jobs: Mapping[str, Any]) -> Definitions:
    """Definitions by name, from functions, from node-resque's `{"perform": …, "plugins": […],
    "plugin_options": {…}}`, or from definitions.
    """
    if isinstance(jobs, Definitions):
        return jobs
    return Definitions({name: _definition(name, job) for name, job in jobs.items()})


def _definition(name: str, job: Any) -> Definition:
    if isinstance(job, Definition):
        return job
    if (made := getattr(job, "__resqpy_definition__", None)) is not None:
        own: Definition = made()
        return replace(own, name=name)  # a project's task, which takes its inputs by name
    if not isinstance(job, Mapping):
        return define(name, job)
    fields = {str(key): value for key, value in job.items()}
    if "pluginOptions" in fields:
        fields["plugin_options"] = fields.pop("pluginOptions")
    if wrong := sorted(set(fields) - _FIELDS):
        raise UnknownOption(f"task {name!r}: unknown {wrong[0]!r}{near_match(wrong[0], _FIELDS)}")
    if "perform" not in fields:
        raise InvalidTask(f"task {name!r} has no perform")
    return define(name, fields.pop("perform"), **fields)
