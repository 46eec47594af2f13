"""Enqueue a job: by a form made from its task's declaration, or by class, queue and arguments; also a failed job,
edited, as a new one.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from starlette.responses import Response

from resqpy.base import codec
from resqpy.base.errors import InvalidInputs, InvalidQueueName, QueueFull, UsageError, printable
from resqpy.base.masking import HIDDEN, MASK, Redaction
from resqpy.base.model import FailedJob
from resqpy.base.when import parse_duration
from resqpy.diagnosis.browsing import find_failed
from resqpy.diagnosis.workers import failed_id
from resqpy.framework.tasks.arguments import by_name, shown_args
from resqpy.framework.tasks.hints import name_of
from resqpy.framework.tasks.inputs import from_text, json_default
from resqpy.framework.tasks.readers import NOT_TOLD
from resqpy.framework.tasks.spec import TaskSpec
from resqpy.web import changing
from resqpy.web.access import OPERATE
from resqpy.web.asking import MAX_BODY, Refusal, moment, segment
from resqpy.web.jobs import WantedJob, editable_job, wanted_job
from resqpy.web.pages.parts import back, fields_of, number_in, text_in
from resqpy.web.rendering import page
from resqpy.web.vault import new_secret
from resqpy.web.views import WHOLE, cut, json_lines
from resqpy.web.visit import Visit

_INPUT = "input."  # before the name of an input in a form
_OF_THE_ENTRY = ("old", "at")  # fields of the failed entry, and not of the new job
_SCALARS = ("string", "integer", "number", "boolean", "null")


@dataclass(frozen=True)
class InputField:
    """An input of a task in the form.

    Attributes:
        options: what it may be; none: anything.
        large: it may be a list or an object, or has several lines.
        default: as JSON; "": there is none that can be told.
        text: what stands in it.
    """

    name: str
    type: str
    required: bool
    description: str
    default: str
    options: Sequence[str]
    large: bool
    text: str


@dataclass(frozen=True)
class Edited:
    """A failed job that is edited.

    Attributes:
        args: as its bytes have them.
    """

    entry: FailedJob
    at: int
    class_name: str
    args: list[Any]

    @property
    def id(self) -> str:
        """The digest of the entry."""
        return failed_id(self.entry)


class HiddenValue(UsageError):
    """A value is to be enqueued that the form does not show."""


@dataclass
class Form:
    """A form, and what was typed into it.

    Attributes:
        task: whose inputs it has; None: it has class, queue and arguments.
        known: whether the project has the task.
        shown, real: the arguments, or the inputs by name, of the edited job: without secrets, and as they are.
    """

    class_name: str
    queue: str
    task: TaskSpec | None
    known: bool
    redaction: Redaction
    edited: Edited | None = None
    typed: Mapping[str, str] | None = None
    shown: Any = None
    real: Any = None
    errors: dict[str, str] = field(default_factory=dict)

    @property
    def inputs(self) -> list[InputField]:
        """The inputs of its task."""
        if self.task is None:
            return []
        schemas = self.task.inputs.json_schema()["properties"]
        return [self._input(self.task, name, schemas[name]) for name in self.task.inputs]

    def _input(self, task: TaskSpec, name: str, schema: Mapping[str, Any]) -> InputField:
        declared, text = task.inputs[name], self.given(_INPUT + name)
        default = self.redaction.shown({name: json_default(declared)})[name]
        told = default is not None and json_default(declared) is not NOT_TOLD
        options = ["true", "false"] if schema.get("type") == "boolean" else schema.get("enum", [])
        return InputField(
            name,
            name_of(declared.type),
            declared.is_required,
            declared.description,
            cut(_text(default, self.redaction)) if told else "",
            [each if isinstance(each, str) else _text(each, self.redaction) for each in options],
            _is_large(schema) or "\n" in text,
            text,
        )

    def given(self, name: str) -> str:
        """What stands in a field."""
        return self.start(name) if self.typed is None else self.typed.get(name, "")

    def start(self, name: str) -> str:
        """What stood in a field at first."""
        if name == "queue":
            return self.queue
        if self.task is None:
            args = "[]" if self.shown is None else _text(self.shown, self.redaction)
            return {"class": self.class_name, "args": args}.get(name, "")
        own = name.removeprefix(_INPUT)
        if own == name or own not in (self.shown or {}):
            return ""
        value = self.shown[own]
        plain = isinstance(value, str) and from_text(self.task.inputs, own, value) == value
        return printable(value, "\n\t") if plain else _text(value, self.redaction)


def _is_large(schema: Mapping[str, Any]) -> bool:
    kinds = schema.get("anyOf", [schema])
    return not all("enum" in each or each.get("type") in _SCALARS for each in kinds)


def _text(value: Any, redaction: Redaction) -> str:
    """JSON, with a line for each part of it."""
    text = "\n".join(json_lines(value, redaction))
    if len(text) > WHOLE:
        raise Refusal(
            409, "This job is too large to be edited here", f"It has {len(text):,} characters."
        )
    return text


def _as_shown(value: Any, redaction: Redaction) -> Any:
    """A value as the form shows it: what JSON can't say, such as 1e400, stands there as a text."""
    return codec.decode_text("\n".join(json_lines(value, redaction)))


def unhidden(new: Any, shown: Any, real: Any) -> Any:
    """A value that was edited without its secrets: what is as it was shown is what it really is.

    Raises:
        HiddenValue: the sign for a hidden value stands where another value was.
    """
    if _same(new, shown):
        return real
    if isinstance(new, dict) and isinstance(shown, dict) and isinstance(real, dict):
        known = shown.keys() & real.keys()
        return {
            name: unhidden(each, shown[name], real[name]) if name in known else unhidden(each, None, None)
            for name, each in new.items()
        }  # fmt: skip
    lists = isinstance(new, list) and isinstance(shown, list) and isinstance(real, list)
    if lists and len(new) == len(shown) == len(real):
        return [*map(unhidden, new, shown, real)]
    words = repr(new)
    if HIDDEN in words or (MASK in words and not _same(shown, real)):
        raise HiddenValue(
            f"{HIDDEN} and {MASK} stand for a value that is not shown here: type the value itself"
        )
    return new


def _same(one: Any, other: Any) -> bool:
    """Whether they are the same: 1 and True are not. They may be no JSON: 1e400 is infinite in Python."""
    return repr(one) == repr(other)


# -- the page --


async def form_page(visit: Visit) -> Response:
    """The form of a task, or which tasks there are."""
    query = visit.request.query_params
    if visit.console.options.read_only:
        raise Refusal(403, "The console is read-only", "It was started with --read-only.")
    form, tasks = await _form(visit, query), visit.console.tasks
    if form.known or form.edited or not tasks:
        return _shown(visit, form)
    text = text_in(visit, "q").lower()
    found = [each for name, each in sorted(tasks.items()) if text in name.lower()]
    return _shown(visit, form, tasks=found, text=text_in(visit, "q"))


async def _form(visit: Visit, values: Mapping[str, str]) -> Form:
    edited = await _edited(visit, values)
    name = values.get("task", "") if edited is None else edited.class_name
    task, redaction = visit.console.tasks.get(name), visit.console.options.redaction
    if name and task is None and edited is None:
        raise Refusal(404, "There is no such task", f"This project has no task {name[:200]!r}.")
    queue = values.get("queue", "")
    form = Form(name, queue, task, task is not None, redaction, edited)
    if values.get("as") == "json":
        form.task = None
    if edited is not None:
        form.queue = edited.entry.queue or ""
        form.real = edited.args
        form.shown = _as_shown(shown_args(task, edited.args, redaction), redaction)
        if form.task is not None:
            _by_name(form, form.task)
    if form.task is None and form.known and form.shown is None:
        form.shown = form.real = [{}] if task and task.signature.positions is None else []
    return form


def _by_name(form: Form, task: TaskSpec) -> None:
    """The inputs in the arguments of the edited job, if they have that shape."""
    try:
        real = dict(by_name(task, form.real))
    except InvalidInputs:
        form.task = None
    else:
        if real.keys() <= task.inputs.keys():
            form.real = real
            form.shown = _as_shown(form.redaction.shown(real), form.redaction)
        else:
            form.task = None


async def _edited(visit: Visit, values: Mapping[str, str]) -> Edited | None:
    if "failed" not in values:
        return None
    if not visit.who.allows(OPERATE):
        raise Refusal(403, "You may not do this", "Your role does not see arguments.")
    source, at = values.get("list") or "failed", number_in(values, "at")
    found = await find_failed(visit.resque, source, values["failed"], at)
    if found is None:
        raise Refusal(404, "This failed job is not there any more", "It was retried or removed.")
    job = editable_job(found[1])
    if job is None:
        words = "It has no class with a list of arguments, or belongs to a tracked task."
        raise Refusal(409, "This job can't be edited", words)
    return Edited(found[1], found[0], *job)


def _shown(visit: Visit, form: Form, status: int = 200, **more: Any) -> Response:
    return page(
        visit, "enqueue", status, form=form, once=new_secret(),
        tasks=more.get("tasks"), text=more.get("text", ""),
    )  # fmt: skip


# -- what was typed --


async def enqueue(visit: Visit) -> Response:
    """Enqueue what the form has; with an error, it is shown again, as it was filled in."""
    fields = await fields_of(visit, MAX_BODY)
    typed = {name: each.replace("\r\n", "\n") for name, each in fields.items()}
    form = await _form(visit, {name: each for name, each in typed.items() if name != "queue"})
    form.typed = typed
    wanted = _wanted(visit, form)
    if wanted is None:
        return _shown(visit, form, 422)
    failed = form.edited.id if form.edited else None
    try:
        done = await changing.enqueue(visit, wanted, _once(typed), failed)
    except (UsageError, QueueFull) as error:
        form.errors[""] = str(error)
        return _shown(visit, form, 409)
    if not done and done.refused != "once":
        form.errors[""] = f"{done.refused!r} forbids it; nothing was enqueued"
        return _shown(visit, form, 409)
    if form.edited is None:
        where = f"/queues/{segment(wanted.job[0])}" if wanted.now else "/delayed"
        return back(visit, where, "enqueued")
    gone = typed["old"] == "remove" and await changing.remove_failed(visit, form.edited.entry)
    return back(visit, "/failed/entries", "replaced" if gone else "enqueued", undo=gone or "")


def _once(typed: Mapping[str, str]) -> str:
    """Names the job that was typed into a form: sent again, it is the same one; with other values, another."""
    if not typed.get("once"):
        return ""
    job = {name: text for name, text in typed.items() if name not in _OF_THE_ENTRY}
    return codec.digest(codec.json_text(job).encode("utf-8", "surrogatepass"))


def _wanted(visit: Visit, form: Form) -> WantedJob | None:
    """The job, checked as everywhere; None: the form's errors say what is wrong."""
    given: dict[str, Any] = {"task": form.class_name or form.given("class")}
    if not given["task"]:
        form.errors["class"] = "name the class"
    if queue := form.given("queue"):
        given["queue"] = queue
    elif not form.known:
        form.errors["queue"] = "name the queue"
    if form.edited is not None and form.given("old") not in ("keep", "remove"):
        form.errors["old"] = "choose what becomes of the failed entry"
    _time(form, given)
    try:
        given |= _inputs(form) if form.task else _args(form, visit.console.tasks.get(given["task"]))
        return None if form.errors else wanted_job(visit.console.tasks, given)
    except InvalidInputs as error:
        form.errors |= _by_field(form, error)
    except InvalidQueueName as error:
        form.errors["queue"] = str(error)
    except UsageError as error:
        form.errors[""] = str(error)
    return None


def _by_field(form: Form, error: InvalidInputs) -> dict[str, str]:
    if form.task is None:
        return {"args": str(error)}
    own = form.task.inputs
    fields = {
        _INPUT + name if name in own else "more": words for name, words in error.fields.items()
    }
    return fields or {"": str(error)}


def _time(form: Form, given: dict[str, Any]) -> None:
    delay, at = form.given("in").strip(), form.given("due").strip()
    if delay and at:
        form.errors["due"] = "give one of the two times"
    elif delay:
        try:
            given["delay_ms"] = parse_duration(delay)
        except UsageError as error:
            form.errors["in"] = str(error)
    elif at:
        found = next((each for each in (at, f"{at}Z") if moment(each)), None)
        if found is None:
            form.errors["due"] = f"{at[:60]!r} is no time such as 2026-11-30T12:00"
        else:
            given["at"] = found


def _inputs(form: Form) -> dict[str, Any]:
    assert form.task is not None
    inputs, real, shown = dict[str, Any](), form.real or {}, form.shown or {}
    for name in form.task.inputs:
        text = form.given(_INPUT + name)
        if name in real and text == form.start(_INPUT + name):
            inputs[name] = real[name]
        elif text:
            value = from_text(form.task.inputs, name, text)
            try:
                inputs[name] = unhidden(value, shown.get(name), real.get(name))
            except HiddenValue as error:
                form.errors[_INPUT + name] = str(error)
    if more := form.given("more").strip():
        others = _json(form, "more", more, dict, "an object with inputs")
        inputs = {**(others or {}), **inputs}
    return {"inputs": inputs}


def _args(form: Form, task: TaskSpec | None) -> dict[str, Any]:
    args = _json(form, "args", form.given("args"), list, "a list of arguments")
    if args is None:
        return {}
    try:
        args = unhidden(args, form.shown, form.real) if form.edited else args
    except HiddenValue as error:
        form.errors["args"] = str(error)
    if task is not None:
        return {"inputs": by_name(task, args)}
    return {"args": _renamed(args) if form.edited else args}


def _renamed(args: list[Any]) -> list[Any]:
    """An ActiveJob is another one by its id, and was never tried."""
    [first] = args if len(args) == 1 else [None]
    if isinstance(first, dict) and "job_class" in first and "job_id" in first:
        return [{**first, "job_id": str(uuid.uuid4()), "executions": 0}]
    return args


def _json(form: Form, name: str, text: str, kind: type, words: str) -> Any:
    try:
        value = codec.decode_text(text)
    except (ValueError, RecursionError) as error:
        form.errors[name] = f"this is not JSON: {error}"
        return None
    if not isinstance(value, kind):
        form.errors[name] = f"this is not {words}"
        return None
    return value
