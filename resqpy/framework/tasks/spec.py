"""A task as a user wrote it, class or function, in one form; and its immutable spec, all properties checked."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_origin, get_type_hints, is_typeddict

from resqpy.base.errors import UsageError
from resqpy.base.imports import near_match
from resqpy.engine.definition import RunRules, is_async
from resqpy.framework.tasks.handle import GIVEN, WHOLE
from resqpy.framework.tasks.hints import name_of, reader_of, unreadable
from resqpy.framework.tasks.inputs import Input, merge_hint
from resqpy.framework.tasks.readers import Mismatch
from resqpy.framework.tasks.resources import Resource, ResourceSpec, named, spec_of
from resqpy.framework.tasks.task import PROPERTIES, FunctionTask, Task

if TYPE_CHECKING:
    from resqpy.base.cron.cron import CronSchedule
    from resqpy.base.periodic import Missed
    from resqpy.framework.tasks.inputs import Inputs


@dataclass(frozen=True, slots=True)
class TaskSpec(RunRules):
    """A task with all its properties, checked.

    Attributes:
        frequency_ms: 0: none.
        schedule: the parsed `cron`; None: none.
        retry: the options of the plugin Retry; None: no retry.
        run: the user's function, bound.
        module: the module it belongs to; None: the project.
        package: name and version of the installed package that provides it; None: none.
        defined: what the user wrote: a class or a `FunctionTask`.
    """

    name: str
    description: str
    queue: str
    frequency_ms: int
    cron: str | None
    timezone: str
    schedule: CronSchedule | None
    missed: Missed
    missed_window_ms: int
    plugins: tuple[Any, ...]
    plugin_options: Mapping[str, Mapping[str, Any]]
    middleware: tuple[Any, ...]
    inputs: Inputs
    signature: Signature
    retry: Mapping[str, Any] | None
    time_limit_ms: int | None
    expires_ms: int | None
    deadline_ms: int | None
    re_enqueue_on_exception: bool
    run: Callable[..., Any]
    is_async: bool
    file: Path
    line: int | None
    module: str | None
    package: str | None
    defined: Any

    @property
    def periodic(self) -> bool:
        """Whether it is periodic."""
        return self.frequency_ms > 0 or self.schedule is not None


@dataclass(frozen=True, slots=True)
class WrittenTask:
    """What a user wrote.

    Attributes:
        own: the properties that were set, by name.
        run: as written; None: there is none.
    """

    defined: Any
    title: str
    qualname: str
    own: Mapping[str, Any]
    run: Any
    default_name: str
    default_description: str


def written(defined: Any) -> WrittenTask:
    """Read a class or a decorated function."""
    if isinstance(defined, FunctionTask):
        named = without_partials(defined.function)
        return WrittenTask(
            defined,
            f"task {named.__name__}",
            named.__qualname__,
            defined.properties,
            defined.function,
            named.__name__,
            _first_lines(named.__doc__),
        )
    own = {name: getattr(defined, name) for name in PROPERTIES}
    return WrittenTask(
        defined,
        f"task {defined.__name__}",
        defined.__qualname__,
        own,
        getattr(defined(), "run", None),
        defined.__name__[:1].lower() + defined.__name__[1:],
        _first_lines(defined.__doc__ if defined.__doc__ != Task.__doc__ else ""),
    )


def without_partials(function: Any) -> Any:
    """The underlying function of a `functools.partial`."""
    while isinstance(function, partial):
        function = function.func
    return function


def _first_lines(words: str | None) -> str:
    return " ".join(inspect.cleandoc(words or "").partition("\n\n")[0].split())


def looks_like_a_task(thing: Any) -> bool:
    """Whether a class looks like a task but doesn't derive from `Task`: it would not be found."""
    if not isinstance(thing, type) or issubclass(thing, Task):
        return False
    own = vars(thing)
    return callable(own.get("run")) and any(name in own for name in PROPERTIES)


# The parameters of `run`: which of them are inputs, and how to call it.

_KEYWORD, _REST = inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_POSITIONAL
_BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, _KEYWORD)


@dataclass(frozen=True, slots=True)
class Positions:
    """The inputs that a job's arguments are by their places.

    Attributes:
        names: in order.
        required: how many of them have no default.
        rest: the input that is all further ones (`*ids`); None: there are no others.
        by_name: inputs by name may follow, in an object at the end.
    """

    names: tuple[str, ...]
    required: int
    rest: str | None
    by_name: bool


@dataclass(frozen=True, slots=True)
class Signature:
    """How to call `run`.

    Attributes:
        whole: its parameter for the dict of all inputs.
        names: its parameters for single inputs; `defaults` has their Python defaults.
        worker: it takes the worker.
        rest: it takes undeclared inputs (`**others`).
        resources: its parameters that a worker provides.
        positions: None: a job has one object with the inputs by name.
    """

    whole: str | None
    names: tuple[str, ...]
    defaults: Mapping[str, Any]
    worker: bool
    rest: bool
    resources: Mapping[str, ResourceSpec]
    positions: Positions | None = None

    def called(self, run: Callable[..., Any]) -> Callable[..., Any]:
        """`run`, to be called with the keywords of a call."""
        if (at := self.positions) is None:
            return run
        names, rest = at.names, at.rest

        def by_position(**given: Any) -> Any:
            args = [given.pop(name) for name in names]
            return run(*args, *(given.pop(rest) if rest else ()), **given)

        return by_position

    def arguments(self, params: dict[str, Any], worker: Any) -> dict[str, Any]:
        """The keywords of a call."""
        if self.rest:
            arguments = dict(params)
        else:
            defaults = self.defaults
            arguments = {name: params.get(name, defaults.get(name)) for name in self.names}
        if self.whole is not None:
            arguments[self.whole] = params
        if self.worker:
            arguments["worker"] = worker
        return arguments


def signature_of(run: Callable[..., Any]) -> tuple[Signature, dict[str, inspect.Parameter]]:
    """How to call a function, and which of its parameters are inputs.

    Raises:
        UsageError: a parameter that can't be passed.
    """
    try:
        parameters = dict(inspect.signature(run).parameters)
    except NameError as error:  # from Python 3.14 on, annotations are evaluated here
        raise UsageError(unreadable("an annotation of run", error)) from error
    _refuse_the_seeds(parameters)
    kinds = {each.kind for each in parameters.values()}
    rest = inspect.Parameter.VAR_KEYWORD in kinds
    single = {
        name: each
        for name, each in parameters.items()
        if each.kind is not inspect.Parameter.VAR_KEYWORD
    }
    whole = [name for name in WHOLE if name in single]
    resources = resources_of(run, single)
    own = {name: each for name, each in single.items() if name not in {*GIVEN, *resources}}
    empty = inspect.Parameter.empty
    defaults = {name: each.default for name, each in own.items() if each.default is not empty}
    made = Signature(
        whole[0] if whole else None, tuple(own), defaults, "worker" in single, rest, resources,
        _positions(single, own, rest=rest),
    )  # fmt: skip
    return made, own


def _positions(
    parameters: Mapping[str, inspect.Parameter], own: Mapping[str, inspect.Parameter], *, rest: bool
) -> Positions | None:
    """The inputs by position: those before a `/`, and `*others`.

    Raises:
        UsageError: a parameter there is no input, or can't be told from one.
    """
    placed = [name for name, each in parameters.items() if each.kind not in _BY_NAME]
    if not placed:
        return None
    for name in placed:
        if name not in own:
            raise UsageError(
                f"run's parameter {name!r} is no input, so it has no position: write it after the / or *"
            )
    more = next((name for name in placed if parameters[name].kind is _REST), None)
    if more is not None and parameters[more].annotation is inspect.Parameter.empty:
        raise UsageError(
            f"run's parameter '*{more}' has no type hint; it takes all inputs by position: write *{more}: Any if "
            "it should; a decorator between needs functools.wraps"
        )
    names = tuple(name for name in placed if name != more)
    free = [name for name in own if name not in placed]
    if more is not None and (
        plain := [each for each in free if parameters[each].kind is not _KEYWORD]
    ):
        raise UsageError(
            f"run's parameter {plain[0]!r} stands before *{more}, so it is taken by position: write a / after it"
        )
    required = sum(parameters[name].default is inspect.Parameter.empty for name in names)
    return Positions(names, required, more, bool(free) or rest)


def resources_of(
    run: Callable[..., Any], parameters: Mapping[str, inspect.Parameter]
) -> dict[str, ResourceSpec]:
    """The parameters that ask for a resource.

    Raises:
        UsageError: it can't be provided.
    """
    asked = {name: _asked_for(run, name, each) for name, each in parameters.items()}
    found = {name: resource_spec(each) for name, each in asked.items() if each is not None}
    for name, each in found.items() if not is_async(run) else ():
        for needed in each.all():
            if needed.is_async:
                raise UsageError(
                    f"run's parameter {name!r} needs the async resource {named(needed.function)}, and run is a "
                    "plain function, which runs in a thread: make the task async, or the resource plain"
                )
    return found


def _asked_for(
    function: Callable[..., Any], name: str, parameter: inspect.Parameter
) -> Resource | None:
    """The resource that a parameter asks for, by its default or its type hint."""
    if isinstance(parameter.default, Resource):
        return parameter.default
    try:
        hint = _hint(function, name, parameter)
    except UsageError:  # told where the inputs are read
        return None
    inside = get_args(hint)[1:] if get_origin(hint) is Annotated else ()
    return next((each for each in inside if isinstance(each, Resource)), None)


def resource_spec(asked: Resource) -> ResourceSpec:
    """The spec of a resource.

    Raises:
        UsageError: it can't be opened.
    """
    return spec_of(asked, _asked_for)


_NEXT = ("next", "callback", "cb", "done")


def _refuse_the_seeds(parameters: Mapping[str, inspect.Parameter]) -> None:
    """`run(api, params, next)`, ActionHero's old form, would be taken for inputs of those names."""
    if "api" in parameters and any(name in parameters for name in (*_NEXT, *GIVEN)):
        raise UsageError(
            f"run takes ({', '.join(parameters)}), which is JavaScript's form; here it is `async def run(self, "
            "params, worker)`, or the inputs by name: `from resqpy import api` provides the api, returning "
            "means success, raising means failure"
        )


def _check_given(run: Callable[..., Any], signature: Signature) -> None:
    """The hint of a parameter that is not an input must not be one that only an input could have."""
    parameters = inspect.signature(run).parameters
    for name in filter(None, ("worker" if signature.worker else None, signature.whole)):
        if not _fits(run, name, parameters[name]):
            gets = "the worker that runs the task" if name == "worker" else "the dict of all inputs"
            raise UsageError(
                f"run's parameter {name!r} receives {gets}, which is not "
                f"{name_of(parameters[name].annotation)}; rename the input"
            )


def _fits(run: Callable[..., Any], name: str, parameter: inspect.Parameter) -> bool:
    """Whether the worker, or a dict of inputs, may be of a hint; so it is if the hint can't be read."""
    try:
        hint = _hint(run, name, parameter)
        reader_of(Any if is_typeddict(hint) else hint).read(object() if name == "worker" else {})
    except UsageError:
        return True
    except Mismatch:
        return False
    return True


def merge_inputs(
    run: Callable[..., Any], declared: Mapping[str, Input]
) -> tuple[Signature, dict[str, Input]]:
    """The inputs that `inputs` and the parameters of `run` declare together.

    Raises:
        UsageError: an input that `run` doesn't take, or a type hint that can't be resolved.
    """
    signature, own = signature_of(run)
    _check_given(run, signature)
    takes_all = signature.rest or signature.whole is not None
    for name in declared:
        if name in signature.resources:
            raise UsageError(f"input {name!r} is declared, but run takes a resource there")
        if name not in own and not takes_all:
            raise UsageError(
                f"input {name!r} is declared, but run doesn't take it{near_match(name, own)}"
            )
    merged = {}
    for name, each in own.items():
        hint, default = _hint(run, name, each), each.default
        if each.kind is _REST:
            hint, default = list[hint], []  # type: ignore[valid-type]  # of that hint
        merged[name] = merge_hint(_declared_by(hint, name, declared.get(name)), hint, default)
    return signature, {**declared, **merged}


def _hint(run: Callable[..., Any], name: str, parameter: inspect.Parameter) -> Any:
    hint = parameter.annotation
    if hint is inspect.Parameter.empty:
        return Any
    function = inspect.unwrap(without_partials(getattr(run, "__func__", run)))
    stub = SimpleNamespace(__annotations__={name: hint})
    try:
        resolved = get_type_hints(stub, getattr(function, "__globals__", {}), include_extras=True)
    except Exception as error:  # an annotation may be any expression
        raise UsageError(unreadable(f"the type hint {hint!r} of input {name!r}", error)) from error
    return resolved[name]


def _declared_by(hint: Any, name: str, declared: Input | None) -> Input | None:
    """What `Annotated[int, Input(…)]` declares, or the entry in `inputs`."""
    inside = [each for each in get_args(hint)[1:] if isinstance(each, Input)]
    if get_origin(hint) is not Annotated or not inside:
        return declared
    if declared is not None:
        raise UsageError(f"input {name!r} is declared twice: in inputs, and by its type hint")
    return inside[-1]
