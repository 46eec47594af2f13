"""The inputs of a task: declared by `inputs` or by the type hints of `run`, and checked.

They are checked twice: when a job is enqueued, so that the caller gets the error, and before the run,
because foreign clients don't check. What is enqueued is what the caller passed, as JSON, possibly changed by
enqueue hooks: defaults and formatters are applied before the run, so that `delete` and `del_delayed` find a job by
what was enqueued.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, fields, replace
from typing import Any

from resqpy.base.codec import TASK_ID, decode_text
from resqpy.base.errors import InvalidInputs, UsageError, class_of, message_of, told
from resqpy.base.imports import near_match
from resqpy.base.json_forms import looked_at, to_json
from resqpy.base.json_rules import explain
from resqpy.base.masking import HIDDEN, SECRETS, Redaction
from resqpy.framework.tasks.hints import name_of, reader_of
from resqpy.framework.tasks.readers import ANY, NOT_TOLD, Fault, Mismatch, Reader

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
        type: a type hint; a formatter gets JSON's values.
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
        provided: parameters of `run` that are no inputs, because workers provide them.
        shape: identifies how they stand in a job; "": by name.

    Attributes:
        typed: the inputs that are other in Redis than in `run`: datetimes, dataclasses and the like.

    Raises:
        UsageError: a type hint that JSON has no values for, or a default that is not of its type.
    """

    def __init__(
        self,
        task: str,
        declared: Mapping[str, Input],
        *,
        extra: bool,
        provided: Iterable[str] = (),
        shape: str = "",
    ) -> None:
        self._task = task
        self._shape = shape
        self._provided = frozenset(provided)
        self.extra = extra
        self._readers = {name: _reader(name, each) for name, each in declared.items()}
        self._declared = {
            name: _with_default(name, each, self._readers[name]) for name, each in declared.items()
        }
        self._reads = {name: each.read for name, each in self._readers.items()}
        self.typed = tuple(name for name, each in self._readers.items() if not each.plain)
        self.hide(())

    def hide(self, words: Sequence[str]) -> None:
        """Hide values in errors if their name contains one of these words."""
        self._redaction = Redaction((*SECRETS, *words), form=looked_at)

    def quoted(self, value: Any, most: int = 80) -> str:
        """A value for an error message, which logs and the failed list keep: without secrets."""
        scalar = value is None or isinstance(value, str | int | float)
        shown = value if scalar else self._redaction.shown(value)
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
        parts: list[tuple[Any, ...]] = [
            (name, each.is_required, name_of(each.type)) for name, each in self._declared.items()
        ]
        if self.typed:  # whose fields are not told by their names
            parts.append(("", False, str(self.json_schema())))
        if self._shape:
            parts.append((self._shape, False, ""))
        return hashlib.sha256(repr((sorted(parts), self.extra)).encode()).hexdigest()[:8]

    def fits(self, name: str, value: Any) -> bool:
        """Whether a value matches the type of an input; undeclared inputs accept any."""
        try:
            return name not in self._reads or self._reads[name](value) is not NOT_TOLD
        except Exception:  # types and their constraints are users' code
            return False

    def json_schema(self) -> dict[str, Any]:
        """The JSON Schema of the inputs as they are in Redis."""
        defs: dict[str, Any] = {}
        properties = {
            name: _schema(each, self._readers[name], defs) for name, each in self._declared.items()
        }
        return {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": self._task,
            "type": "object",
            "properties": properties,
            "required": self.required,
            "additionalProperties": self.extra,
            **({"$defs": defs} if defs else {}),
        }

    def as_sent(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """The given inputs as they are enqueued: checked, in JSON.

        Raises:
            InvalidInputs: all that is wrong.
        """
        checked, sent = self.check(params), dict(params)
        fields = {
            name: problem
            for name in self.typed
            if name in sent and (problem := self._write(sent, name, checked[name]))
        }
        if fields:
            raise _invalid(self._task, fields)
        return sent

    def check(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """What `run` receives for the given inputs: with defaults, formatted and validated.

        Raises:
            InvalidInputs: all that is wrong.
        """
        given = {name: value for name, value in params.items() if name != TASK_ID}
        fields = {} if given.keys() <= self._declared.keys() else self._unknown(given)
        for name, declared in self._declared.items():
            if problem := self._settle(given, name, declared):
                fields[name] = problem
        if fields:
            raise _invalid(self._task, fields)
        return given

    def refuse_unknown(self, given: Mapping[str, Any]) -> None:
        """Refuse what is no input.

        Raises:
            InvalidInputs: with the near match.
        """
        if fields := self._unknown(given):
            raise _invalid(self._task, fields)

    def _unknown(self, given: Mapping[str, Any]) -> dict[str, str]:
        unasked = {
            name: f"{name!r} is a resource, not an input: workers provide it; leave it out"
            for name in sorted(self._provided & given.keys())
        }
        if self.extra:
            return unasked
        return unasked | {
            name: f"input {name!r} is unknown{near_match(str(name), self._declared)}"
            for name in given
            if name not in self._declared and name not in self._provided
        }

    def _write(self, sent: dict[str, Any], name: str, value: Any) -> str | None:
        """Put an input's JSON in place, or return why no run would get this value."""
        reader = self._readers[name]
        try:
            sent[name] = written = to_json(value)
            if not reader.constructs or to_json(reader.read(written)) == written:
                return None
        except Mismatch:
            pass
        except Exception as error:
            return self._broken(name, value, error)
        return (
            f"input {name!r} would arrive as another value: its class changes its fields whenever it is made of "
            "them; let it leave alone what it has changed already, or call resqpy.converter"
        )

    def _broken(self, name: str, value: Any, error: Exception) -> str:
        """What users' code has raised: that of a type, a constraint, a converter."""
        if isinstance(error, RecursionError):
            return f"input {name!r} is nested too deeply"
        words = _without(self._redaction, value, told(error), secret=self._redaction.hides(name))
        return f"input {name!r} is not valid: {words}"

    def _settle(self, given: dict[str, Any], name: str, declared: Input) -> str | None:
        """Put the input's final value in place, or return what is wrong with it."""
        if name not in given:
            if declared.is_required:
                return f"input {name!r} is required"
            if declared.has_default:
                given[name] = _fresh(declared.default)
            return None
        try:
            given[name] = value = self._reads[name](given[name])
        except Mismatch as error:
            return "; ".join(self._words_of(name, each) for each in error.faults)
        except Exception as error:
            return self._broken(name, given[name], error)
        if declared.formatter is None and declared.validator is None:
            return None
        return self._judge(given, name, declared, value)

    def _judge(self, given: dict[str, Any], name: str, declared: Input, value: Any) -> str | None:
        """Ask its functions."""
        try:
            given[name] = value = declared.formatter(value) if declared.formatter else value
            verdict = declared.validator(value) if declared.validator else None
        except Exception as error:  # users' functions may raise anything: it means "not valid"
            verdict = message_of(error) or class_of(error)
        secret = self._redaction.hides(name)
        if verdict is False:
            return f"input {name!r} is not valid: {self._told(value, secret=secret)}"
        if not isinstance(verdict, str):
            return None
        return f"input {name!r} is not valid: {_without(self._redaction, value, verdict, secret=secret)}"

    def _words_of(self, name: str, problem: Fault) -> str:
        """What is wrong within an input."""
        secret = any(self._redaction.hides(str(each)) for each in (name, *problem.path))
        value = problem.value
        words = _without(self._redaction, value, problem.words, secret=secret)
        told = "" if value is NOT_TOLD else f", got {self._told(value, secret=secret)}"
        return f"input {name + problem.place!r} {words}{told}"

    def _told(self, value: Any, *, secret: bool) -> str:
        kind = type(value).__name__
        return f"a {kind}" if secret else f"{self.quoted(value, 60)} ({kind})"


def _without(redaction: Redaction, value: Any, words: str, *, secret: bool) -> str:
    """A message of users' functions or of a library, which may quote the value."""
    if secret and str(value):
        words = words.replace(str(value), HIDDEN)
    return redaction.text(words)


def _invalid(task: str, fields: Mapping[str, str]) -> InvalidInputs:
    error = InvalidInputs(f"task {task!r}: {'; '.join(fields.values())}")
    error.fields = fields
    return error


def from_text(inputs: Inputs, name: str, text: str) -> Any:
    """What somebody has typed as an input: its JSON, unless it is none, or the input accepts only text."""
    try:
        value = decode_text(text)
    except (ValueError, RecursionError):
        return text
    return value if inputs.fits(name, value) or not inputs.fits(name, text) else text


def _fresh(default: Any) -> Any:
    """A default for one run: a list that one run changes must not affect the next."""
    if callable(default):
        return default()
    return deepcopy(default) if isinstance(default, list | dict | set) else default


def _schema(declared: Input, reader: Reader, defs: dict[str, Any]) -> dict[str, Any]:
    made = reader.schema(defs)
    if declared.description:
        made["description"] = declared.description
    if (default := json_default(declared)) is not NOT_TOLD:
        made["default"] = default
    return made


def json_default(declared: Input) -> Any:
    """The default as JSON; `NOT_TOLD` if there is none, a function makes it, or JSON has no such value."""
    if not declared.has_default or callable(declared.default):
        return NOT_TOLD
    try:
        made = to_json(declared.default)
    except Exception:  # also of users' own `to_json`
        return NOT_TOLD
    return made if explain(made) is None else NOT_TOLD


def _reader(name: str, declared: Input) -> Reader:
    try:
        reader = reader_of(declared.type)
    except UsageError as error:
        if declared.formatter is None:
            raise UsageError(f"input {name!r} {error}") from error
        return ANY
    return ANY if declared.formatter is not None and not reader.plain else reader


def _with_default(name: str, declared: Input, reader: Reader) -> Input:
    """The same input; a default that is JSON is read, as an input would be."""
    default = declared.default
    if not isinstance(default, str | int | float | list | dict):
        return declared
    try:
        return replace(declared, default=reader.read(default))
    except Mismatch as error:
        place, words = error.faults[0].place, error.faults[0].words
        raise UsageError(
            f"input {name!r} has the default {default!r}: {place or 'it'} {words}"
        ) from error


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
