"""docs/reference/api.md, made of the docstrings: `python -m tests.docs.api_reference` writes it anew."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import cache
from textwrap import dedent
from typing import Any

import resqpy
import resqpy.testing
from resqpy.base import errors, model
from resqpy.engine.run import Run
from resqpy.framework.api.schedules import ScheduleChange, SchedulesApi
from resqpy.framework.tasks.handle import Handle, _Verb
from resqpy.tracked import errors as tracked_errors
from resqpy.tracked.active import ActiveTask
from resqpy.tracked.delivery import Listener
from resqpy.tracked.handle import Selection, TrackedTask
from resqpy.tracked.processing import Operation
from tests.docs.pages import DOCS

DOC = DOCS / "reference" / "api.md"

ERRORS = {**vars(errors), **vars(tracked_errors)}

HEAD = """# The Python API

All public names, by their docstrings. What stands in `resqpy` is imported from there; it is loaded when it is
first used. A number is milliseconds unless its name ends with `_s`. Where a type says `Duration`, a `timedelta`
is taken, too; where it says `Moment`, an aware `datetime`. What has a page of its own: [`api.tasks`](tasks.md),
[tracked tasks](tracked.md), the [plugins](plugins.md) that come with resqpy,
[exit codes](cli.md#exit-codes), [tests](../how-to/testing.md).
"""

SECTIONS: Mapping[str, tuple[str, ...]] = {
    "Projects": (
        "Task", "task", "Handle", "TaskJob", "Input", "converter", "Middleware", "TaskCall", "JobFailure",
        "Limit", "Rate", "Snooze", "resource", "per_process",
        "Initializer", "api", "open_project", "lifespan", "Project", "ProjectErrors", "ProjectProblem", "Process",
        "current_task", "TrackedApi",
    ),
    "Without a project": (
        "Queue", "SyncQueue", "Inspector", "Resque", "Worker", "MultiWorker", "Scheduler", "Plugin", "Enqueuing",
        "Dequeuing",
    ),
    "Options": ("RedisOptions", "Store", "WorkerOptions", "ScalingOptions", "SchedulerOptions"),
}  # fmt: skip

# What the methods above give; they are not made by users.
VALUES = (
    model.Enqueued, model.Job, model.FailedJob, model.WorkingOn, model.WorkerId, Run,
    TrackedTask, ActiveTask, Selection, Operation, Listener, SchedulesApi, ScheduleChange,
)  # fmt: skip

# What events and roles have for their own engine.
INTERNAL = {
    "spawn", "changes", "emit", "ending", "has_listeners", "on_listener_error", "pool", "tell", "title",
    "write_end",
}  # fmt: skip

_SECTION = re.compile(r"^(Args|Attributes|Returns|Raises):\n((?:[ ]{4}.*\n|\n)*)", re.MULTILINE)
_ITEM = re.compile(r"^ {4}(\*{0,2}\w[\w.`, *]*): (.*(?:\n {8}.*)*)", re.MULTILINE)
_CODE = re.compile(r"(?:^ {4}.*\n)+", re.MULTILINE)
SKETCH = "<!-- not run: the sketch in a docstring; the pages of how-to have it whole -->"


def generated() -> str:
    """The page."""
    parts = [HEAD]
    for title, names in SECTIONS.items():
        parts.append(f"## {title}\n")
        parts += [_of(name, _public(name)) for name in names]
    parts.append(
        "## What they give\n\nIn a task, `resqpy.current_run.get()` is its `Run`; plugins are given it.\n"
    )
    parts += [_of(kind.__name__, kind) for kind in VALUES]
    parts.append(
        "## Testing\n\nIn `resqpy.testing`, and as [pytest fixtures](../how-to/testing.md#fixtures).\n"
    )
    parts += [_of(name, getattr(resqpy.testing, name)) for name in resqpy.testing.__all__]
    parts.append(_errors())
    return "\n".join(parts)


def _public(name: str) -> Any:
    return Handle if name == "Handle" else getattr(resqpy, name)


def _of(name: str, thing: Any) -> str:
    if inspect.isclass(thing):
        return _of_class(name, thing)
    if inspect.isfunction(thing):
        return f"### {name}\n\n`{_called(name, thing)}`\n\n{_prose(thing)}\n"
    return f"### {name}\n\n{_prose(type(thing))}\n"


def _of_class(name: str, kind: type) -> str:
    lines = [f"### {name}", ""]
    if _is_constructed(kind):
        lines += [f"`{name}{_parameters(kind)}`", ""]
    lines += [_prose(kind), "", *_fields(kind)]
    others = [each for each in kind.__mro__[1:] if each in _classes()]
    if others:
        lines += [f"Besides, all of {_and(others)}.", ""]
    rows = list(_members(kind, others))
    if rows:
        lines += ["| | |", "|---|---|", *rows, ""]
    return "\n".join(lines)


def _fields(kind: Any) -> list[str]:
    """What the fields of options say of themselves."""
    said = [
        each for each in (fields(kind) if is_dataclass(kind) else ()) if "words" in each.metadata
    ]
    return [
        *(f"- `{each.name}`: {each.metadata['words']}" for each in said),
        *([""] if said else []),
    ]


def _is_constructed(kind: type) -> bool:
    return any("__init__" in vars(each) for each in kind.__mro__[:-1]) and kind not in {
        *VALUES,
        Handle,
    }


@cache
def _classes() -> set[type]:
    names = [name for section in SECTIONS.values() for name in section]
    return {thing for thing in map(_public, names) if inspect.isclass(thing)}


def _and(kinds: Sequence[type]) -> str:
    return " and ".join(f"[{each.__name__}](#{each.__name__.lower()})" for each in kinds)


def _members(kind: type, others: Sequence[type]) -> Iterator[str]:
    seen = INTERNAL | {name for each in others for base in each.__mro__ for name in vars(base)}
    for base in kind.__mro__:
        if not base.__module__.startswith("resqpy"):
            continue
        for name, member in vars(base).items():
            if name.startswith("_") or name in seen:
                continue
            seen = seen | {name}
            row = _member(name, member)
            if row is not None:
                yield row


def _member(name: str, member: Any) -> str | None:
    function = member.__func__ if isinstance(member, classmethod | staticmethod) else member
    if isinstance(function, _Verb):
        function = vars(Handle)[name]  # a task class has what a handle has
    if isinstance(function, property):
        shown = name
    elif inspect.isfunction(function):
        shown = _called(name, function)
    else:
        return None
    words = _in_a_row(inspect.getdoc(function) or "")
    return f"| `{_escaped(shown)}` | {_escaped(words)} |" if words else None


def _called(name: str, function: Callable[..., Any]) -> str:
    wait = "await " if inspect.iscoroutinefunction(inspect.unwrap(function)) else ""
    returned = inspect.signature(function).return_annotation
    private = isinstance(returned, str) and returned.startswith("_")
    gives = "" if private or returned in {"None", inspect.Signature.empty} else f" → {returned}"
    return f"{wait}{name}{_parameters(function)}{gives}"


def _parameters(thing: Callable[..., Any]) -> str:
    found, keyword_only = [], False
    for each in inspect.signature(thing).parameters.values():
        if each.name in {"self", "cls", "clock"} or each.name.startswith("_"):
            continue
        if each.kind is each.KEYWORD_ONLY and not keyword_only:
            keyword_only = True
            found.append("*")
        found.append(_parameter(each))
    return f"({', '.join(found)})"


def _parameter(each: inspect.Parameter) -> str:
    stars = "**" if each.kind is each.VAR_KEYWORD else "*" * (each.kind is each.VAR_POSITIONAL)
    hint = f": {each.annotation}" if isinstance(each.annotation, str) else ""
    if each.default is each.empty:
        return f"{stars}{each.name}{hint}"
    default = repr(each.default)
    if "<" in default or default == "nothing":
        default = "…"
    return f"{each.name}{hint} = {default.replace('mappingproxy({})', '{}')}"


def _prose(thing: Any) -> str:
    """A docstring in Markdown: sections become lists."""
    text = (inspect.getdoc(thing) or "") + "\n"
    listed = _SECTION.sub(lambda found: f"{found[1]}:\n\n{_list(found[2])}", text)
    return _CODE.sub(lambda found: f"{SKETCH}\n```python\n{dedent(found[0])}```\n", listed).strip()


def _list(items: str) -> str:
    lines = [
        f"- {found[1] if '`' in found[1] else f'`{found[1]}`'}: {' '.join(found[2].split())}"
        for found in _ITEM.finditer(items)
    ]
    return "\n".join(lines or [items.strip()]) + "\n\n"


def _in_a_row(text: str) -> str:
    """A docstring in a cell of a table."""
    parts = _SECTION.split(text + "\n")
    words = " ".join(parts[0].split())
    for title, items in zip(parts[1::3], parts[2::3], strict=True):
        if title == "Raises":
            words += f" *{title}* " + "; ".join(
                f"`{found[1]}`: {' '.join(found[2].split()).rstrip('.')}"
                for found in _ITEM.finditer(items)
            )
    return words


def _escaped(cell: str) -> str:
    return cell.replace("|", "\\|")


def _errors() -> str:
    lines = [
        "## Errors",
        "",
        "Each is imported from `resqpy`. A message says what was wrong, with which value, and what to do.",
        "",
        *_below(errors.ResqpyError, 0),
        "",
    ]
    return "\n".join(lines)


def _below(kind: type[BaseException], depth: int) -> Iterator[str]:
    yield f"{'  ' * depth}- `{kind.__name__}`: {' '.join((kind.__doc__ or '').split())}"
    for each in ERRORS.values():
        if isinstance(each, type) and issubclass(each, Exception) and kind in each.__bases__:
            yield from _below(each, depth + 1)


if __name__ == "__main__":
    DOC.write_text(generated())
