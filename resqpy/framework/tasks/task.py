"""How a task is defined: a class derived from `Task`, or a function with `@task`.

Both only store what was written; `spec.py` checks it and makes the immutable spec when a project is loaded,
so that all errors can be reported at once, with file and line.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial, update_wrapper
from types import MappingProxyType, ModuleType
from typing import Any, ClassVar, Generic, ParamSpec, TypedDict, TypeVar, Unpack, overload

from resqpy.base.imports import import_dotted, near_match
from resqpy.base.limits import AnyLimit
from resqpy.base.when import Duration, Moment
from resqpy.framework.tasks.handle import (
    OTHER_VERBS,
    Enqueue,
    Handle,
    HandleVerb,
    LaterVerb,
    ManyVerb,
    OtherVerb,
    SyncTask,
    TaskJob,
    Verb,
)

# Each definition is recorded in the module that is being run at that time, so a task is found because it was
# defined, whatever name or container holds it, if any.
_DEFINED = "__resqpy_defined__"  # in a module: what was defined while it ran
_PLACE = "__resqpy_place__"  # of a definition


@dataclass(frozen=True, slots=True)
class DefinedAt:
    """The top-level line of a module that led to a definition.

    Attributes:
        module: the module's name.
    """

    file: str
    line: int
    module: str


def note(defined: Any) -> None:
    """Record a definition and its location; one made while no module runs has none."""
    frame = inspect.currentframe()
    while frame is not None and frame.f_code.co_name != "<module>":
        frame = frame.f_back
    place = None
    if frame is not None and (module := frame.f_globals.get("__name__")) != "__main__":
        frame.f_globals.setdefault(_DEFINED, []).append(defined)
        place = DefinedAt(frame.f_code.co_filename, frame.f_lineno, str(module))
    setattr(defined, _PLACE, place)


def place_of(defined: Any) -> DefinedAt | None:
    """Where something was defined, if a module was being run then."""
    place = getattr(defined, _PLACE, None)
    return place if isinstance(place, DefinedAt) else None


def defined_by(module: ModuleType) -> list[Any]:
    """What was defined while a module ran, in that order."""
    return list(vars(module).get(_DEFINED, ()))


P = ParamSpec("P")
R = TypeVar("R")

NO_OPTIONS: Mapping[str, Any] = MappingProxyType({})


class Task:
    """A task. One instance is created when the project is loaded; it keeps no state of a single run.

    `run` does the work, on the event loop if it is async, else in a thread. It takes `params` (a dict of
    all inputs) and `worker`, as in ActionHero, or the inputs by name: `run(self, to: str)`. Returning means
    success, raising means failure.

    Attributes:
        name: unique; used in Redis. Default: from the class or function. `SendWelcomeEmail` is
            `sendWelcomeEmail`, a function keeps its name, in a module both get the prefix `<module>.`. An
            explicit name is used unchanged.
        description: for lists of tasks. Default: the docstring, else the name.
        queue: where it is enqueued unless the caller names another.
        frequency: milliseconds, or a `timedelta`, from one run to the next; 0: it is not periodic.
        cron: a cron expression instead, with five fields or six (seconds first).
        timezone: of `cron`. Default: `general.timezone`.
        missed: what to do about cron times at which no scheduler ran: `skip`, `once`, `all`.
        missed_window: how far back `once` and `all` look. Default: a day.
        plugins: built-in ones by name (`"QueueLock"`), your own (`plugins/*.py`) by class name, others by
            dotted path, or classes. The first is the outermost.
        plugin_options: by plugin name.
        middleware: by name or class, in addition to those that apply everywhere.
        inputs: `Input`s (or dicts) by name; the type hints of `run` count as well.
        extra_inputs: accept undeclared inputs.
        retry: how often to retry, or a dict of Retry's options.
        time_limit: milliseconds or a `timedelta`; a run that takes longer is cancelled and fails as
            `JobTimeout`. One that swallows its cancellation is cancelled again and then abandoned: its slot
            continues, and the log reports it.
        expires: milliseconds or a `timedelta`; a job that was not begun so long after it was enqueued is not
            run: it ends as expired (event `expired`), neither processed nor failed.
        deadline: the same, and a job that still runs then is cancelled, and fails as `DeadlinePassed`.
        at_most_once: a run that has started is never repeated, even if its worker dies: it fails.
        limit: how many of its jobs run at once, or begin in a time, in all processes together: a `Limit`, a
            `Rate`, or a list of them, all of which must let a job run. One that meets a limit waits for its turn,
            outside its queue, without a slot and without an attempt.
        end_children: when a run is cut off, by its time limit, a cancellation or a stop, the processes that
            it started are ended too (TERM, after 2 s KILL). For plain functions, on Linux.
        shadow: it asks `current_run.get().shadow` before it has an effect outside of Redis, such as a mail, so
            `resqpy migrate … --shadow` may run it beside another language's: its result is compared, what it
            enqueues is noted and not sent.
        re_enqueue_on_exception: a periodic task continues after a failed run.
    """

    name: ClassVar[str] = ""
    description: ClassVar[str] = ""
    queue: ClassVar[str] = "default"
    frequency: ClassVar[Duration] = 0
    cron: ClassVar[str | None] = None
    timezone: ClassVar[str | None] = None
    missed: ClassVar[str] = "skip"
    missed_window: ClassVar[Duration] = 86_400_000
    plugins: ClassVar[Sequence[Any]] = ()
    plugin_options: ClassVar[Mapping[str, Mapping[str, Any]]] = NO_OPTIONS
    middleware: ClassVar[Sequence[Any]] = ()
    inputs: ClassVar[Mapping[str, Any]] = NO_OPTIONS
    extra_inputs: ClassVar[bool] = False
    retry: ClassVar[int | Mapping[str, Any] | None] = None
    time_limit: ClassVar[Duration | None] = None
    expires: ClassVar[Duration | None] = None
    deadline: ClassVar[Duration | None] = None
    at_most_once: ClassVar[bool] = False
    end_children: ClassVar[bool] = False
    limit: ClassVar[AnyLimit | Sequence[AnyLimit]] = ()
    shadow: ClassVar[bool] = False
    re_enqueue_on_exception: ClassVar[bool] = True

    run: Callable[..., Any]

    def __init_subclass__(cls, **more: Any) -> None:
        super().__init_subclass__(**more)
        note(cls)

    @classmethod
    def __resqpy_definition__(cls) -> Any:
        """The definition for the engine, also without a project."""
        return _definition_of(cls)

    enqueue = Verb[Enqueue]()
    enqueue_in = LaterVerb[Duration, Enqueue]()
    enqueue_at = LaterVerb[Moment, Enqueue]()
    enqueue_many = ManyVerb(Handle.enqueue_many)
    job = Verb[TaskJob]()
    on = HandleVerb(Handle.on)
    once = HandleVerb(Handle.once)
    sync = SyncTask()


for _name in OTHER_VERBS:
    setattr(Task, _name, OtherVerb(_name))

PROPERTIES = tuple(name for name in Task.__annotations__ if name != "run")
_DEFAULTS = {name: getattr(Task, name) for name in PROPERTIES}


class FunctionTask(Handle[P], Generic[P, R]):
    """A task made from a function; calling it calls the function.

    Attributes:
        function: the decorated function.
        properties: the arguments of `@task(…)`.
    """

    def __init__(self, function: Callable[P, R], properties: Mapping[str, Any]) -> None:
        update_wrapper(self, function)  # first: the function may carry another task's attributes
        super().__init__(self, function)
        self.function = function
        self.properties: dict[str, Any] = dict(properties)
        note(self)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.function(*args, **kwargs)

    def __resqpy_definition__(self) -> Any:
        """The definition for the engine, also without a project."""
        return _definition_of(self)


class _Decorator:
    """What `@task(…)` returns: it takes the function."""

    def __init__(self, properties: Mapping[str, Any]) -> None:
        self._properties = properties

    @overload
    def __call__(self, function: Callable[[dict[str, Any], Any], R]) -> FunctionTask[..., R]: ...
    @overload
    def __call__(self, function: Callable[[dict[str, Any]], R]) -> FunctionTask[..., R]: ...
    @overload
    def __call__(self, function: Callable[P, R]) -> FunctionTask[P, R]: ...
    def __call__(self, function: Any) -> Any:
        if isinstance(function, type):
            raise TypeError(
                f"@task is for functions; let the class {function.__name__} derive from resqpy.Task"
            )
        if isinstance(function, partial) and not self._properties["name"]:
            raise TypeError(f"{function!r} has no name; name the task: task('name')")
        if not (inspect.isroutine(function) or isinstance(function, partial)):
            raise TypeError(f"@task is for functions, not for {function!r}")
        return FunctionTask(function, self._properties)


class Properties(TypedDict, total=False):
    """The arguments of `@task(…)` besides the name; see `Task`."""

    description: str
    queue: str
    frequency: Duration
    cron: str | None
    timezone: str | None
    missed: str
    missed_window: Duration
    plugins: Sequence[Any]
    plugin_options: Mapping[str, Mapping[str, Any]]
    middleware: Sequence[Any]
    inputs: Mapping[str, Any]
    extra_inputs: bool
    retry: int | Mapping[str, Any] | None
    time_limit: Duration | None
    expires: Duration | None
    deadline: Duration | None
    at_most_once: bool
    end_children: bool
    limit: AnyLimit | Sequence[AnyLimit]
    shadow: bool
    re_enqueue_on_exception: bool


# What other libraries call our properties.
_OTHER_PROPERTIES = {
    "autoretry_for": "retry", "max_retries": "retry", "retries": "retry", "attempts": "retry",
    "job_timeout": "time_limit", "timeout": "time_limit", "soft_time_limit": "time_limit",
    "queue_name": "queue", "schedule": "cron", "crontab": "cron", "every": "frequency", "interval": "frequency",
    "ttl": "expires", "acks_late": "at_most_once",
}  # fmt: skip


def hint_of_property(name: str) -> str:
    """The property that was probably meant."""
    if name == "bind":
        return "; `self` is never passed: see resqpy.current_task"
    other = _OTHER_PROPERTIES.get(name)
    return f"; here it is {other!r}" if other else near_match(name, PROPERTIES)


@overload
def task(function: Callable[[dict[str, Any], Any], R], /) -> FunctionTask[..., R]: ...
@overload
def task(function: Callable[[dict[str, Any]], R], /) -> FunctionTask[..., R]: ...
@overload
def task(function: Callable[P, R], /) -> FunctionTask[P, R]: ...
@overload
def task(name: str = "", **properties: Unpack[Properties]) -> _Decorator: ...
def task(name: Any = "", *more: Any, **properties: Any) -> Any:
    """Make a task from a function: `@task`, or `@task(queue="mail", retry=3)`.

    The properties are those of `Task`. The default name is the function's name, unchanged.

    Raises:
        TypeError: an unknown property, with the nearest; or the decorated object is not a function.
    """
    for unknown in properties.keys() - set(PROPERTIES):
        raise TypeError(f"@task has no property {unknown!r}{hint_of_property(unknown)}")
    if more:
        raise TypeError(
            f"@task takes a name, and {more[0]!r} by a keyword, such as queue={more[0]!r}"
        )
    if callable(name):
        return _Decorator(_DEFAULTS)(name)
    return _Decorator({**_DEFAULTS, "name": name, **properties})


def _definition_of(defined: Any) -> Any:
    registry = import_dotted("resqpy.framework.project.registry:registry_of")(defined)
    return registry.definitions[registry.task(defined).name]


def is_definition(thing: Any) -> bool:
    """Whether an object defines a task: not `Task` itself, nor a base class without `run`."""
    if isinstance(thing, FunctionTask):
        return True
    return isinstance(thing, type) and issubclass(thing, Task) and thing is not Task
