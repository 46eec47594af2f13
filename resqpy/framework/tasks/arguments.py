"""A job's arguments as the inputs of a task, and inputs as arguments.

Most tasks take one object with their inputs by name, as ActionHero has them. One whose `run` has parameters
before a `/` takes them by position, as Ruby's `perform(id, why)` does; its inputs have
names everywhere but in Redis.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import repeat
from typing import TYPE_CHECKING, Any

from resqpy.base.activejob import RubyHash, args_in, class_in
from resqpy.base.errors import InvalidInputs, UsageError
from resqpy.base.masking import Redaction
from resqpy.framework.tasks.inputs import json_default
from resqpy.framework.tasks.readers import NOT_TOLD

if TYPE_CHECKING:
    from resqpy.base.limits import AnyLimit
    from resqpy.framework.tasks.spec import Positions, TaskSpec


def params_of(task: TaskSpec, args: Sequence[Any]) -> dict[str, Any]:
    """What `run` receives for a job's arguments, whoever wrote them.

    Raises:
        InvalidInputs: what is wrong.
    """
    return task.inputs.check(by_name(task, args))


def sent_args(task: TaskSpec, args: Sequence[Any]) -> list[Any]:
    """The arguments of a job that is to be enqueued: checked, in JSON.

    Raises:
        InvalidInputs: what is wrong.
    """
    sent = task.inputs.as_sent(by_name(task, args))
    if task.signature.positions is not None:
        return args_of(task, sent)
    return [sent] if args and isinstance(args[0], Mapping) else list(args)


def args_of(task: TaskSpec, sent: Mapping[str, Any]) -> list[Any]:
    """The arguments of a job with these inputs, which are JSON.

    Raises:
        InvalidInputs: one is missing that stands before others, and has no default in JSON; or one has neither a
            place nor a name, so that the job would mean something else.
    """
    at = task.signature.positions
    if at is None:
        return [dict(sent)]
    others = dict(sent)
    rest = others.pop(at.rest, ()) if at.rest else ()
    if not isinstance(rest, list | tuple):
        raise InvalidInputs(
            f"task {task.name!r}: input {at.rest!r} must be a list, got {task.inputs.quoted(rest)} "
            f"({type(rest).__name__})"
        )
    last = max((n for n, name in enumerate(at.names, 1) if name in others), default=0)
    args = [_at_its_place(task, name, others) for name in at.names[: None if rest else last]]
    args += rest
    if others and not at.by_name:
        task.inputs.refuse_unknown(others)
    if at.by_name and (others or (args and isinstance(args[-1], Mapping))):
        args.append(others)  # also an empty one, else the object before it would be taken for it
    return args


def _at_its_place(task: TaskSpec, name: str, given: dict[str, Any]) -> Any:
    if name in given:
        return given.pop(name)
    if (default := json_default(task.inputs[name])) is NOT_TOLD:
        raise InvalidInputs(
            f"task {task.name!r}: input {name!r} must be given, too: it is taken by position, and others stand "
            "after it"
        )
    return default


def by_name(task: TaskSpec, args: Sequence[Any]) -> Mapping[str, Any]:
    """The inputs in a job's arguments, not checked yet.

    Raises:
        InvalidInputs: the arguments have not the shape that the task takes.
    """
    if (at := task.signature.positions) is not None:
        return _by_position(task, at, args)
    given = args[0] if args else {}
    if given is None or given == []:  # PHP's empty array can mean a list or an object
        given = {}
    if len(args) > 1 or not isinstance(given, Mapping):
        raise InvalidInputs(
            f"task {task.name!r} takes one object with its inputs as its only argument; the job's args are "
            f"{task.inputs.quoted(list(args))} (run takes them by position if a / stands behind its parameters)"
        )
    return given


def _by_position(task: TaskSpec, at: Positions, args: Sequence[Any]) -> dict[str, Any]:
    values, others = list(args), dict[str, Any]()
    if len(values) == 1 and not _is_first(task, at, values[0]):
        only = values[0]
        if only is None or (isinstance(only, Mapping) and only.keys() <= task.inputs.keys()):
            return dict(only or {})  # by name: ActionHero's clients send nothing else
        if isinstance(only, list):
            values = only  # PHP's array of arguments is one argument
    if at.by_name and values and _is_named(values[-1], len(values) > at.required):
        others = dict(values.pop())
    if at.rest is None and len(values) > len(at.names):
        raise InvalidInputs(
            f"task {task.name!r} takes {len(at.names)} inputs by position ({', '.join(at.names)}); the job has "
            f"{len(values)}"
        )
    inputs = dict(zip(at.names, values, strict=False))
    if at.rest is not None and (more := values[len(at.names) :]):
        inputs[at.rest] = more
    for name in inputs.keys() & others.keys():
        raise InvalidInputs(f"task {task.name!r}: input {name!r} is given by position and by name")
    return {**inputs, **others}


def _is_named(last: Any, possible: bool) -> bool:
    """Whether the last argument is the inputs by name; ActiveJob says so, elsewhere it is one too many."""
    return last.keywords if isinstance(last, RubyHash) else possible and isinstance(last, Mapping)


def _is_first(task: TaskSpec, at: Positions, value: Any) -> bool:
    """Whether a value can be the first input."""
    if at.names:
        return task.inputs.fits(at.names[0], value)
    return at.rest is not None and task.inputs.fits(at.rest, [value])


def json_schema_of(task: TaskSpec) -> dict[str, Any]:
    """The JSON Schema of a task's inputs as they are in Redis: an object, or the list of the arguments."""
    schema = task.inputs.json_schema()
    if (at := task.signature.positions) is None:
        return schema
    each = schema.pop("properties")
    required, extra = schema.pop("required"), schema.pop("additionalProperties")
    items = [each.pop(name) for name in at.names]
    rest = each.pop(at.rest)["items"] if at.rest else False
    if at.by_name:
        more = [name for name in required if name in each]
        other = {
            "type": "object",
            "properties": each,
            "required": more,
            "additionalProperties": extra,
        }
        items, rest = (
            ([*items, other], False) if at.rest is None else (items, {"anyOf": [rest, other]})
        )
    least = {"minItems": at.required} if at.required else {}
    first = {"prefixItems": items} if items else {}  # an empty one is forbidden
    return {**schema, "type": "array", **first, **least, "items": rest}


def placed_limits(task: TaskSpec) -> tuple[AnyLimit, ...]:
    """The limits of a task, which Redis reads from a job's arguments: by their places, if they have one.

    Raises:
        UsageError: an input has neither a place nor a name there.
    """
    at = task.signature.positions
    return task.limit if at is None else tuple(_placed(task, at, each) for each in task.limit)


def _placed(task: TaskSpec, at: Positions, limit: AnyLimit) -> AnyLimit:
    if limit.path and limit.path == at.rest:
        raise UsageError(f"limit is per {limit.path!r}, which has no place of its own in a job")
    if limit.path not in at.names:  # in the object at the end, or it is per nothing
        return limit
    return limit.placed(task.name, f"#{at.names.index(limit.path) + 1}")


def named_args(task: TaskSpec | None, args: Sequence[Any]) -> Mapping[str, Any] | None:
    """For display: the inputs of a task that takes them by position; None: it does not, or they don't fit."""
    if task is None or task.signature.positions is None:
        return None
    try:
        return by_name(task, args)
    except InvalidInputs:
        return None


def shown_args(task: TaskSpec | None, args: Sequence[Any], redaction: Redaction) -> list[Any]:
    """Arguments for display, without secrets, also where only the task knows their names; they need not fit."""
    at = None if task is None else task.signature.positions
    if task is None or at is None:
        shown: list[Any] = redaction.shown(list(args))
        return shown
    if len(args) == 1 and isinstance(args[0], list) and not _is_first(task, at, args[0]):
        return [shown_args(task, args[0], redaction)]
    more = at.rest or next(
        filter(redaction.hides, at.names), ""
    )  # one too many: any may be the secret
    names = [*at.names, *repeat(more, max(len(args) - len(at.names), 0))]
    return [redaction.shown({name: each})[name] for name, each in zip(names, args, strict=False)]


def shown_payload(tasks: Mapping[str, TaskSpec], payload: Any, redaction: Redaction) -> Any:
    """What a worker works on, for display: of the project's tasks without the secrets that only they know."""
    shown = redaction.shown(payload)
    if not isinstance(payload, Mapping) or not isinstance(args := args_in(payload), list):
        return shown
    values = shown_args(tasks.get(str(class_in(payload))), args, redaction)
    if class_in(payload) == payload.get("class"):
        return {**shown, "args": values}
    return {**shown, "args": [{**shown["args"][0], "arguments": values}]}  # an ActiveJob


def refuse_positions(task: TaskSpec, what: str) -> None:
    """Refuse a task that takes its inputs by position where its job must have one object.

    Raises:
        UsageError: with the way out.
    """
    if task.signature.positions is not None:
        raise UsageError(
            f"task {task.name!r} takes its inputs by position, so {what}: the id of a record stands in the object "
            "with the inputs; take them by name (leave the / out of run's parameters)"
        )
