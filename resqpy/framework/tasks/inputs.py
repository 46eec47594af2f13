"""The inputs of a task: declared by `inputs` or by the type hints of `run`, and checked.

They are checked twice: when a job is enqueued, so that the caller gets the error, and before the run,
because foreign clients don't check. What is enqueued is what the caller passed, possibly changed by enqueue
hooks: defaults and formatters are applied before the run, so that `delete` and `del_delayed` find a job by
what was enqueued.
"""

from __future__ import annotations

import hashlib
import inspect
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, NotRequired, Required, Union, get_args, get_origin

from resqpy.base.codec import TASK_ID
from resqpy.base.errors import InvalidInputs, UsageError, class_of, message_of
from resqpy.base.imports import near_match
from resqpy.base.masking import HIDDEN, SECRETS, Redaction

# Type hints as checks of JSON values: what `run(self, to: str, copies: int = 1)` declares.

Check = Callable[[Any], bool]

_PLAIN: dict[Any, Check] = {
    Any: lambda _: True,
    object: lambda _: True,
    None: lambda value: value is None,
    type(None): lambda value: value is None,
    bool: lambda value: isinstance(value, bool),
    int: lambda value: isinstance(value, int) and not isinstance(value, bool),
    float: lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    str: lambda value: isinstance(value, str),
}
_LISTS = (list, tuple, Sequence, typing.Iterable, set, frozenset)
_DICTS = (dict, Mapping, typing.MutableMapping)


def check_of(hint: Any) -> Check:
    """A function that tells whether a JSON value matches a hint.

    Raises:
        UsageError: JSON has no such values.
    """
    if isinstance(hint, typing.TypeVar) or hint in _PLAIN:
        return _PLAIN.get(hint, _PLAIN[Any])
    if isinstance(hint, typing.NewType):
        return check_of(hint.__supertype__)
    if typing.is_typeddict(hint):
        return _typed_dict_check(hint)
    return _check_of_generic(hint, get_origin(hint) or hint, get_args(hint))


def _check_of_generic(hint: Any, origin: Any, arguments: tuple[Any, ...]) -> Check:
    if origin in {Union, types.UnionType}:
        checks = [check_of(each) for each in arguments]
        return lambda value: any(check(value) for check in checks)
    if origin is Literal:
        return lambda value: any(value == each and type(value) is type(each) for each in arguments)
    if origin in {typing.Annotated, NotRequired, Required}:
        return check_of(arguments[0])
    if origin in _LISTS:
        return _list_check(origin, arguments)
    if origin in _DICTS:
        inner = check_of(arguments[1]) if len(arguments) > 1 else _PLAIN[Any]
        return lambda v: isinstance(v, Mapping) and all(inner(each) for each in v.values())
    raise UsageError(
        f"is a {name_of(hint)}, which JSON can't represent; declare a JSON type (str, int, float, bool, list, "
        "dict, None) and convert it in run, or give the input a formatter"
    )


def _list_check(origin: Any, arguments: tuple[Any, ...]) -> Check:
    if origin in {set, frozenset}:
        raise UsageError("is a set, which JSON can't represent; declare a list")
    if origin is tuple and Ellipsis not in arguments and arguments:
        checks = [check_of(each) for each in arguments]
        return lambda value: (
            isinstance(value, list | tuple)
            and len(value) == len(checks)
            and all(check(each) for check, each in zip(checks, value, strict=True))
        )
    inner = check_of(arguments[0]) if arguments else _PLAIN[Any]
    return lambda value: isinstance(value, list | tuple) and all(inner(each) for each in value)


def _typed_dict_check(hint: Any) -> Check:
    """The required keys, and the types of the declared ones; others are accepted."""
    checks = {name: check_of(each) for name, each in typing.get_type_hints(hint).items()}
    required: frozenset[str] = hint.__required_keys__

    def check(value: Any) -> bool:
        return (
            isinstance(value, Mapping)
            and required <= value.keys()
            and all(checks[name](value[name]) for name in checks.keys() & value.keys())
        )

    return check


def name_of(hint: Any) -> str:
    """A hint for people: `str`, `list[int] | None`, `'fast' or 'slow'`."""
    if get_origin(hint) is Literal:
        return " or ".join(map(repr, get_args(hint)))
    if get_origin(hint) is typing.Annotated:
        return name_of(get_args(hint)[0])
    named = isinstance(hint, type) and not get_args(hint)
    return hint.__name__ if named else str(hint).replace("typing.", "")


_NOTHING: Any = type("_Nothing", (), {"__repr__": lambda _: "nothing"})()


@dataclass(frozen=True, slots=True)
class Input:
    """One input of a task.

    Attributes:
        required: a job without it is rejected. None: as the parameter of `run` says (required if it has no
            default); not required if there is no such parameter.
        default: used if it is missing; a function is called for each run.
        validator: receives the value; it raises, returns False, or returns a text that says what is wrong.
            Anything else means that the value is valid.
        formatter: converts the value to what `run` receives; before the validator, as in ActionHero.
        type: a type hint; JSON's values only, unless there is a formatter.
        description: for people.
    """

    required: bool | None = None
    default: Any = _NOTHING
    validator: Callable[[Any], Any] | None = None
    formatter: Callable[[Any], Any] | None = None
    type: Any = Any
    description: str = ""

    @property
    def has_default(self) -> bool:
        """Whether a default was given."""
        return self.default is not _NOTHING

    @property
    def is_required(self) -> bool:
        """Whether a job without it is rejected."""
        return bool(self.required) and not self.has_default


_WITH_NAMES = (Mapping, list, tuple)
_PROPERTIES = tuple(each.name for each in fields(Input))


def as_input(name: str, declared: Any) -> Input:
    """An input from an `Input` or, as in ActionHero, from a dict.

    Raises:
        UsageError: what is wrong, with a near match.
    """
    if isinstance(declared, Input):
        made = declared
    elif isinstance(declared, Mapping):
        for key in declared:
            if key not in _PROPERTIES:
                raise UsageError(
                    f"input {name!r} has an unknown {key!r}{near_match(key, _PROPERTIES)}"
                )
        made = Input(**declared)
    else:
        raise UsageError(f"input {name!r} is {declared!r}, not an Input(…) or a dict")
    for what in ("validator", "formatter"):
        function = getattr(made, what)
        if function is not None and not callable(function):
            raise UsageError(f"input {name!r}: its {what} is {function!r}, not a function")
        if inspect.iscoroutinefunction(function):
            raise UsageError(f"input {name!r}: its {what} is async; it must be a plain function")
    return made


class Inputs(Mapping[str, Input]):
    """The inputs of one task.

    Args:
        declared: by name.
        extra: undeclared inputs are accepted.

    Raises:
        UsageError: a type hint that JSON has no values for.
    """

    def __init__(self, task: str, declared: Mapping[str, Input], *, extra: bool) -> None:
        self._task = task
        self._declared = dict(declared)
        self.extra = extra
        self._checks = {name: _check(name, each) for name, each in self._declared.items()}
        self._redaction = Redaction()

    def hide(self, words: Sequence[str]) -> None:
        """Hide values in errors if their name contains one of these words."""
        self._redaction = Redaction((*SECRETS, *words))

    def quoted(self, value: Any, most: int = 80) -> str:
        """A value for an error message, which logs and the failed list keep: without secrets."""
        shown = self._redaction.shown(value) if isinstance(value, _WITH_NAMES) else value
        text = self._redaction.text(repr(shown))
        return text if len(text) <= most else f"{text[:most]}…"

    def __getitem__(self, name: str) -> Input:
        return self._declared[name]

    def __iter__(self) -> Any:
        return iter(self._declared)

    def __len__(self) -> int:
        return len(self._declared)

    @property
    def required(self) -> list[str]:
        """The names of the required inputs."""
        return [name for name, each in self._declared.items() if each.is_required]

    @property
    def version(self) -> str:
        """Identifies the declared inputs: a version of the task with other inputs has another value."""
        parts = [
            (name, each.is_required, name_of(each.type)) for name, each in self._declared.items()
        ]
        return hashlib.sha256(repr((sorted(parts), self.extra)).encode()).hexdigest()[:8]

    def fits(self, name: str, value: Any) -> bool:
        """Whether a value matches the type of an input; undeclared inputs accept any."""
        return name not in self._checks or self._checks[name](value)

    def check(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """What `run` receives for the given inputs: with defaults, formatted and validated.

        Raises:
            InvalidInputs: all that is wrong.
        """
        problems: list[str] = []
        given = {name: value for name, value in params.items() if name != TASK_ID}
        if not self.extra:
            problems += self._unknown(given)
        for name, declared in self._declared.items():
            if problem := self._settle(given, name, declared):
                problems.append(problem)
        if problems:
            raise InvalidInputs(f"task {self._task!r}: {'; '.join(problems)}")
        return given

    def _unknown(self, given: Mapping[str, Any]) -> list[str]:
        return [
            f"input {name!r} is unknown{near_match(str(name), self._declared)}"
            for name in given
            if name not in self._declared
        ]

    def _settle(self, given: dict[str, Any], name: str, declared: Input) -> str | None:
        """Put the input's final value in place, or return what is wrong with it."""
        if name not in given:
            if declared.is_required:
                return f"input {name!r} is required"
            if declared.has_default:
                given[name] = _fresh(declared.default)
            return None
        value = given[name]
        if not self._checks[name](value):
            return f"input {name!r} must be {name_of(declared.type)}, got {self._told(name, value)}"
        try:
            given[name] = value = declared.formatter(value) if declared.formatter else value
            verdict = declared.validator(value) if declared.validator else None
        except Exception as error:  # users' functions may raise anything: it means "not valid"
            verdict = message_of(error) or class_of(error)
        if verdict is False:
            return f"input {name!r} is not valid: {self._told(name, value)}"
        if not isinstance(verdict, str):
            return None
        return f"input {name!r} is not valid: {self._without(name, value, verdict)}"

    def _told(self, name: str, value: Any) -> str:
        kind = type(value).__name__
        return f"a {kind}" if self._redaction.hides(name) else f"{self.quoted(value, 60)} ({kind})"

    def _without(self, name: str, value: Any, words: str) -> str:
        """The message of a validator or formatter, which may quote its argument."""
        if self._redaction.hides(name) and str(value):
            words = words.replace(str(value), HIDDEN)
        return self._redaction.text(words)


def _fresh(default: Any) -> Any:
    """A default for one run: a list that one run changes must not affect the next."""
    if callable(default):
        return default()
    return deepcopy(default) if isinstance(default, list | dict | set) else default


def _check(name: str, declared: Input) -> Check:
    try:
        return check_of(declared.type)
    except UsageError as error:
        if declared.formatter is not None:
            return lambda _: True
        raise UsageError(f"input {name!r} {error}") from error


def merge_hint(declared: Input | None, hint: Any, default: Any) -> Input:
    """An input declared by a parameter of `run`, and possibly in `inputs` too.

    Args:
        default: the parameter's; `inspect.Parameter.empty` for none.
    """
    has_default = default is not inspect.Parameter.empty
    if declared is None:
        return Input(
            required=not has_default, default=default if has_default else _NOTHING, type=hint
        )
    merged = declared if declared.type is not Any else replace(declared, type=hint)
    if has_default and not merged.has_default:
        merged = replace(merged, default=default)
    if merged.required is None:
        merged = replace(merged, required=not merged.has_default)
    return merged
