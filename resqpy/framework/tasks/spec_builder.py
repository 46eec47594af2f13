"""Turns what a user wrote into the spec of a task, or into a list of all that is wrong with it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields
from datetime import tzinfo
from functools import partial
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from resqpy.base.cron.cron import CronSchedule
from resqpy.base.errors import UsageError
from resqpy.base.imports import MISSPELLED, near_match
from resqpy.base.keys import check_queue_name
from resqpy.base.limits import limits_of
from resqpy.base.periodic import Missed
from resqpy.base.when import duration_ms
from resqpy.engine.definition import PERIODIC_HINT, is_async, yields
from resqpy.framework.tasks.inputs import Input, Inputs, as_input
from resqpy.framework.tasks.spec import (
    Signature,
    TaskSpec,
    WrittenTask,
    merge_inputs,
    without_partials,
)
from resqpy.framework.tasks.task import PROPERTIES, Task

Complain = Callable[[str | None, str], None]

_RARELY_LESS_MS = {"frequency": 1000, "time_limit": 100, "expires": 1000, "deadline": 1000}


class SpecBuilder:
    """Checks one task, property by property, and reports all that is wrong.

    Args:
        complain: called with the property's name and a message.
        timezone: of cron tasks that name none.
        warn: called likewise about what is allowed but probably unintended.
    """

    def __init__(
        self,
        task: WrittenTask,
        complain: Complain,
        timezone: str,
        warn: Complain = lambda *_: None,
    ) -> None:
        self._task = task
        self._warn = warn
        self._own = dict(task.own)
        if self._own["plugin_options"] == []:  # as in the examples of ActionHero's page
            self._own["plugin_options"] = {}
        self._tell = complain
        self._wrong = False
        self._timezone = timezone

    def build(
        self, *, file: Path, line: int | None, module: str | None, package: str | None = None
    ) -> TaskSpec | None:
        """The spec; None if something is wrong."""
        name = self._name(module)
        parts = {**self._simple(), **self._converted(), **self._callable(name)}
        if self._wrong:
            return None
        spec = TaskSpec(
            name=name, file=file, line=line, module=module, package=package,
            defined=self._task.defined, **parts,
        )  # fmt: skip
        for each in spec.limit:
            if each.path and each.path not in spec.inputs and not spec.inputs.extra:
                hint = near_match(each.path, list(spec.inputs))
                self._complain(
                    "limit", f"limit is for each {each.path!r}, which is no input of it{hint}"
                )
                return None
        if spec.periodic and spec.inputs.required:
            names = ", ".join(map(repr, spec.inputs.required))
            words = f"a periodic task can't have required inputs ({names}): give them defaults"
            self._complain("frequency", words)
            return None
        return spec

    def _complain(self, name: str | None, words: str) -> None:
        self._wrong = True
        self._tell(name, f"{self._task.title}: {words}")

    def _name(self, module: str | None) -> str:
        given = self._own["name"]
        if isinstance(given, str) and given:
            return given
        prefix = f"{module}." if module else ""
        return f"{prefix}{self._task.default_name}"

    def _simple(self) -> dict[str, Any]:
        """Properties that are kept unchanged, if they have the type that `Task` declares."""
        self._refuse_unknown()
        for name, kind in _SIMPLE.items():
            self._need(name, *_TYPES[kind])
        self._check_options(self._own["plugin_options"])
        kept = {name: self._own[name] for name in _SIMPLE if name in _KEPT}
        return {
            name: tuple(value) if isinstance(value, list) else value for name, value in kept.items()
        }

    def _refuse_unknown(self) -> None:
        """An attribute whose name is close to a property's is a misspelling."""
        defined = self._task.defined
        for name, value in vars(defined).items() if isinstance(defined, type) else ():
            hint = near_match(name, PROPERTIES, MISSPELLED)
            own = name.startswith("_") or hasattr(Task, name) or hasattr(type(value), "__get__")
            if hint and not own:  # methods and other names are the user's own
                self._complain(name, f"unknown property {name!r}{hint}")

        noted: Mapping[str, Any] = {}
        with suppress(NameError):  # Python 3.14 evaluates them here
            noted = inspect.get_annotations(defined) if isinstance(defined, type) else {}
        for name in noted.keys() & set(PROPERTIES) - vars(defined).keys():
            self._complain(name, f"{name} has a type, and no value: write {name} = …")

    def _need(self, name: str, kind: Any, words: str) -> None:
        if not isinstance(self._own[name], kind):
            self._complain(name, f"{name} is {self._own[name]!r}, not {words}")

    def _check_options(self, options: Any) -> None:
        for name, each in options.items() if isinstance(options, Mapping) else ():
            if not isinstance(each, Mapping):
                words = f"plugin_options of {name!r} are {each!r}, not a dict"
                self._complain("plugin_options", words)

    def _try(self, name: str, make: Callable[[], Any], otherwise: Any = None) -> Any:
        try:
            return make()
        except (UsageError, TypeError, ValueError) as error:
            self._complain(name, str(error))
            return otherwise

    def _converted(self) -> dict[str, Any]:
        """Properties that are converted."""
        own = self._own
        if own["cron"] and own["frequency"]:
            self._complain("cron", "cron and frequency are both set; a task has one of them")
        for name in ("expires", "deadline"):
            if own[name] is not None and (own["cron"] or own["frequency"]):
                self._complain(name, f"{name} is for jobs that somebody enqueues; {PERIODIC_HINT}")
        self._warn_of_units()
        zone = own["timezone"] or self._timezone
        return {
            "description": self._description(),
            "cron": own["cron"],
            "timezone": str(zone),
            "schedule": self._try("cron", lambda: _schedule(own["cron"], zone)),
            **{
                to: self._try(name, partial(convert, own[name]), 0)
                for name, (to, convert) in _CONVERTED.items()
            },
        }

    def _warn_of_units(self) -> None:
        """Numbers are milliseconds, but some people mean seconds; a `timedelta` is explicit. A time zone is one
        of a cron; a base class may have it for those that have one.
        """
        defined = self._task.defined
        inherited = isinstance(defined, type) and "timezone" not in vars(defined)
        if self._own["timezone"] and not self._own["cron"] and not inherited:
            self._warn("timezone", f"{self._task.title}: timezone has no effect without a cron")
        for name, least in _RARELY_LESS_MS.items():
            given = self._own[name]
            if isinstance(given, int | float) and 0 < given < least:
                self._warn(
                    name,
                    f"{self._task.title}: {name} is {given} milliseconds; for seconds write "
                    f"timedelta(seconds={given}), and to keep it timedelta(milliseconds={given})",
                )

    def _description(self) -> str:
        """Its description; if empty (PYTHONOPTIMIZE=2 removes docstrings) the name is used."""
        task = self._task
        return str(self._own["description"] or task.default_description or task.default_name)

    def _callable(self, name: str) -> dict[str, Any]:
        """`run`, and the inputs that it takes."""
        run = self._run()
        if run is None:
            return {}
        declared = self._declared()
        merged = self._try("inputs", lambda: merge_inputs(run, declared))
        if merged is None:
            return {}
        signature, inputs = merged
        untold = not inputs and signature.whole is not None
        extra = untold or signature.rest or bool(self._own["extra_inputs"])
        return {
            "run": run,
            "is_async": is_async(run),
            "signature": signature,
            "inputs": self._try(
                "inputs", lambda: self._inputs(name, inputs, signature, extra=extra)
            ),
        }

    def _inputs(
        self, name: str, inputs: Mapping[str, Input], signature: Signature, *, extra: bool
    ) -> Inputs:
        try:
            shape = "" if signature.positions is None else repr(signature.positions)
            return Inputs(name, inputs, extra=extra, provided=signature.resources, shape=shape)
        except UsageError as error:
            if not hasattr(self._task.run, "__wrapped__"):
                raise
            raise UsageError(
                f"{error}; or, if a decorator passes it to run, let that one set `__signature__` without it"
            ) from error

    def _run(self) -> Any:
        """`run`; None if it can't be run."""
        run: Any = self._task.run
        if run is None:
            own = vars(self._task.defined)
            names = [each for each, value in own.items() if callable(value) and each[:1] != "_"]
            only = f"; rename {names[0]}" if len(names) == 1 else ""
            self._complain(None, f"has no method run{near_match('run', names) or only}")
        elif not callable(run):
            self._complain("run", f"run is {run!r}, not a method")
        elif (method := self._method()) is not None:
            words = (
                "a worker has no object to call it on; make it a function, or let the class derive "
            )
            words = f"@task on the method {method}: {words}from resqpy.Task and call the method run"
            self._wrong = True
            self._tell(None, words)
        elif yields(run):
            words = "run is a generator, so calling it would run nothing; return a value instead"
            self._complain("run", words)
        else:
            self._warn_of_a_hidden_yield(run)
            return run
        return None

    def _warn_of_a_hidden_yield(self, run: Any) -> None:
        inner = inspect.unwrap(without_partials(getattr(run, "__func__", run)))
        if yields(inner):
            words = (
                "run contains a yield behind a decorator: unless the decorator exhausts it, each job fails as "
                "TaskUnfinished"
            )
            self._warn(None, f"{self._task.title}: {words}")

    def _method(self) -> str | None:
        """The name of the decorated method, which should have been a function."""
        if isinstance(self._task.defined, type):
            return None
        first = next(iter(_parameters(self._task.run)), None)
        inside = "." in self._task.qualname.rpartition("<locals>.")[2]
        return self._task.qualname if inside and first in {"self", "cls"} else None

    def _declared(self) -> dict[str, Input]:
        declared = self._own["inputs"]
        if not isinstance(declared, Mapping):
            return {}
        made = {
            name: self._try("inputs", partial(as_input, name, each))
            for name, each in declared.items()
        }
        return {name: each for name, each in made.items() if each is not None}


def _parameters(run: Any) -> list[str]:
    try:
        return list(inspect.signature(run).parameters)
    except (TypeError, ValueError):  # unknown for some C functions
        return []


def _schedule(cron: str | None, zone: str | tzinfo) -> CronSchedule | None:
    return None if cron is None else CronSchedule.parse(cron, zone)


def _frequency_ms(given: Any) -> int:
    milliseconds = duration_ms(given, "frequency")
    if given and not milliseconds:
        raise UsageError(f"frequency: {given!r} is less than a millisecond")
    return milliseconds


def _limit_ms(given: Any, what: str) -> int | None:
    if given is None:
        return None
    milliseconds = duration_ms(given, what)
    if not milliseconds:
        raise UsageError(f"{what} is {given!r}, so no run could finish; None: no limit")
    return milliseconds


def _missed(given: Any) -> Any:
    if given not in get_args(Missed):
        raise UsageError(f"missed is {given!r}, not one of {', '.join(get_args(Missed))}")
    return given


def _retry(given: Any) -> Mapping[str, Any] | None:
    if given is None:
        return None
    if isinstance(given, Mapping):
        return given
    if isinstance(given, bool) or not isinstance(given, int) or given < 0:
        raise UsageError(f"retry is {given!r}, neither a number nor a dict of Retry's options")
    return {"retry_limit": given + 1}  # node-resque counts the first attempt


_LIMITS = ("time_limit", "expires", "deadline")

# How each property of `Task` is checked: by a function, else by its type.
_CONVERTED: Mapping[str, tuple[str, Callable[[Any], Any]]] = {
    "queue": ("queue", check_queue_name),
    "frequency": ("frequency_ms", _frequency_ms),
    "missed": ("missed", _missed),
    "missed_window": ("missed_window_ms", partial(duration_ms, what="missed_window")),
    "retry": ("retry", _retry),
    "limit": ("limit", limits_of),
    **{each: (f"{each}_ms", partial(_limit_ms, what=each)) for each in _LIMITS},
}
_TYPES: Mapping[Any, tuple[Any, str]] = {
    bool: (bool, "True or False"),
    str: (str, "a text"),
    Mapping: (Mapping, "a dict"),
    Sequence: ((list, tuple), "a list"),
}
_SIMPLE = {
    name: kind
    for name, hint in get_type_hints(Task).items()
    if name in PROPERTIES and name not in _CONVERTED
    for kind in [get_origin(get_args(hint)[0]) or get_args(hint)[0]]
    if kind in _TYPES
}
_KEPT = {each.name for each in fields(TaskSpec)} - {"name", "description", "inputs"}
