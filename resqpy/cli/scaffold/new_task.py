"""The code of a new task and of its test."""

from __future__ import annotations

import keyword
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from resqpy.base.errors import UsageError
from resqpy.base.imports import near_match
from resqpy.base.keys import check_queue_name
from resqpy.cli.scaffold.writing import Name, render, sentence, spread

if TYPE_CHECKING:
    from resqpy.framework.project.layout import Layout

# The types of inputs: how each is written, a value for the test, and what is in Redis then if that is another.
TYPES: dict[str, tuple[str, ...]] = {
    "str": ("str", '"text"'),
    "int": ("int", "1"),
    "float": ("float", "1.5"),
    "bool": ("bool", "True"),
    "list": ("list[Any]", "[1]"),
    "dict": ("dict[str, Any]", '{"key": 1}'),
    "any": ("Any", "1"),
    "date": ("date", "date(2026, 11, 29)", '"2026-11-29"'),
    "datetime": (
        "datetime", "datetime(2026, 11, 29, 9, tzinfo=UTC)", '"2026-11-29T09:00:00Z"'
    ),
    "timedelta": ("timedelta", "timedelta(seconds=90)", '"PT90S"'),
    "decimal": ("Decimal", 'Decimal("12.30")', '"12.30"'),
    "uuid": ("UUID", "UUID(int=1)", '"00000000-0000-0000-0000-000000000001"'),
}  # fmt: skip
_MODULES = {
    "UTC": "datetime", "date": "datetime", "datetime": "datetime", "timedelta": "datetime",
    "Decimal": "decimal", "Any": "typing", "UUID": "uuid",
}  # fmt: skip


def imports(texts: Iterable[str]) -> str:
    """The lines that import what hints or values name, and an empty one."""
    named = {name for text in texts for name in re.findall(r"\w+", text)} & _MODULES.keys()
    lines = [
        f"from {module} import {', '.join(sorted(each for each in named if _MODULES[each] == module))}\n"
        for module in sorted({_MODULES[each] for each in named})
    ]
    return "".join([*lines, "\n"] if lines else [])


_PLAIN = re.compile(r'[^"\\\x00-\x1f]+')
_MODULE = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


class NewInput(NamedTuple):
    """An input."""

    name: str
    hint: str
    value: str
    json: str
    optional: bool

    @property
    def parameter(self) -> str:
        """As a parameter of `run`."""
        return (
            f"{self.name}: {self.hint} | None = None"
            if self.optional
            else f"{self.name}: {self.hint}"
        )


def read_inputs(pairs: Sequence[tuple[str, str]]) -> list[NewInput]:
    """Inputs from `name:type`, optional ones last.

    Raises:
        click.ClickException: a type that inputs can't have.
    """
    found: list[NewInput] = []
    for name, kind in pairs:
        if (
            keyword.iskeyword(name)
            or name in _NO_INPUTS
            or any(name == each.name for each in found)
        ):
            raise click.UsageError(f"--input {name}: {_why_not(name)}")
        optional, plain = kind.endswith("?"), kind.removesuffix("?")
        if plain not in TYPES:
            raise click.UsageError(
                f"--input {name}:{kind}: the type is one of {', '.join(TYPES)}{near_match(plain, TYPES)}"
            )
        hint, value, *json = TYPES[plain]
        found.append(NewInput(name, hint, value, json[0] if json else value, optional))
    return sorted(found, key=lambda each: each.optional)


# `run` receives these automatically, or as something else than an input.
_NO_INPUTS = ("self", "params", "inputs", "worker")


def _why_not(name: str) -> str:
    if keyword.iskeyword(name):
        return "it is a Python keyword"
    return "`run` uses it for something else" if name in _NO_INPUTS else "it is given twice"


def package_for(layout: Layout, module: str | None) -> str:
    """The package of a new task: the first that the project names for tasks and that can take a file.

    Args:
        module: one of `modules/`, or what stands for the `*` of a pattern.

    Raises:
        UsageError: there is none.
    """
    if layout.tasks is None:
        return f"modules.{module}.tasks" if module else "tasks"
    named, shown = [each for each in layout.tasks if "*" not in each], ", ".join(layout.tasks)
    if module:
        open_ones = [
            each for each in layout.tasks if each.split(".").count("*") == 1 == each.count("*")
        ]
        named = [each for each in named if module in each.split(".")]
        named += [each.replace("*", module) for each in open_ones]
    if not named:
        words = "no pattern has a place for it" if module else "use --module NAME to replace the *"
        raise UsageError(f"--module {module or 'is missing'}: {words}; tasks are in {shown}")
    places = {each: layout.root.joinpath(*each.split(".")) for each in named}
    for package, place in places.items():
        if place.is_dir() or not place.with_suffix(".py").exists():
            return package
    place = next(iter(places.values()))
    raise UsageError(
        f"{place.name}.py is one file with tasks, and a new task has a file of its own; make it a package: "
        f"mkdir {place}; mv {place}.py {place}/__init__.py"
    )


@dataclass(frozen=True)
class NewTask:
    """A task to be written.

    Attributes:
        options: as the command has them.
        code: the folder in which imports begin, from the project's.
        package: in which it is to be, by its dotted name.
    """

    name: Name
    options: Mapping[str, Any]
    inputs: list[NewInput]
    code: str
    package: str

    @classmethod
    def of(cls, name: Name, options: Mapping[str, Any], layout: Layout) -> NewTask:
        """Check what was asked for.

        Raises:
            click.ClickException: what is wrong.
        """
        inputs, code = read_inputs(options["inputs"]), os.path.relpath(layout.root, layout.folder)
        try:
            made = cls(name, options, inputs, code, package_for(layout, options["module"]))
            made._check()
        except UsageError as error:
            raise click.UsageError(str(error)) from error
        return made

    def _check(self) -> None:
        from resqpy.base.cron.cron import CronSchedule

        check_queue_name(self.options["queue"])
        for option, value in (("queue", self.options["queue"]), *self._plugins()):
            if not _PLAIN.fullmatch(value):
                raise UsageError(f"--{option} {value!r} has characters that need escaping in code")
        if self._module is not None and not _MODULE.fullmatch(self._module):
            raise UsageError(f"--module {self._module!r} is not a name (letters, digits, _)")
        if self._module is not None and keyword.iskeyword(self._module):
            raise UsageError(f"--module {self._module!r} is a Python keyword")
        cron, frequency = self.options["cron"], self.options["frequency"]
        if cron is not None:
            CronSchedule.parse(cron, self.options["timezone"] or "UTC")
        if cron is not None and frequency:
            raise UsageError("--cron and --frequency can't be combined")
        required = [each.name for each in self.inputs if not each.optional]
        if required and (cron is not None or frequency):
            raise UsageError(
                f"a periodic task can't have required inputs ({', '.join(required)}); use --input "
                f"{required[0]}:type?"
            )

    def _plugins(self) -> list[tuple[str, str]]:
        return [("plugin", each) for each in self.options["plugins"]]

    # -- where --

    @property
    def _module(self) -> str | None:
        module: str | None = self.options["module"]
        return module

    @property
    def path(self) -> str:
        """The task's file."""
        return f"{self.folder}/{self.name.snake}.py"

    @property
    def folder(self) -> str:
        """That of the package."""
        return os.path.normpath(Path(self.code, *self.package.split(".")))

    @property
    def test_path(self) -> str:
        """The test's file."""
        folder = f"tests/{self._module}" if self._module else "tests"
        return f"{folder}/test_{self.name.snake}.py"

    @property
    def full_name(self) -> str:
        """The name in Redis."""
        prefixed = self._module and self.package.startswith(f"modules.{self._module}.")
        return f"{self._module}.{self.name.given}" if prefixed else self.name.given

    # -- what --

    def text(self) -> str:
        """The task."""
        return render("generate/task.py", self._values())

    def test(self) -> str:
        """Its test."""
        return render("generate/task_test.py", self._values())

    def _values(self) -> dict[str, str]:
        given = [(each.name, each.value) for each in self.inputs]
        same = [f"{name}={name}" for name, _ in given]
        sent = [f'"{each.name}": {each.json}' for each in self.inputs]
        start = "def" if self.options["blocking"] else "async def"
        return {
            "name": self.full_name,
            "class": self.name.pascal,
            "description": sentence(self.options["description"] or f"The task {self.name.given}"),
            "properties": "".join(f"    {line}\n" for line in self._properties()),
            "run": spread(
                4,
                f"{start} run(",
                ["self", *(each.parameter for each in self.inputs)],
                ") -> None:",
            ),
            "logged": spread(8, "api.log.info(", [f'"{self.full_name} runs"', *same], ")"),
            "enqueue": spread(
                4, f"await {self.name.pascal}.enqueue(", [f"{n}={v}" for n, v in given], ")"
            ),
            "same_inputs": spread(4, "assert job.inputs == {", sent, "}"),
            "imports": imports(each.hint for each in self.inputs),
            "test_imports": imports(each.value for each in self.inputs),
            "queue": self.options["queue"],
            "import": f"{self.package}.{self.name.snake}",
        }

    def _properties(self) -> Iterator[str]:
        wanted = self.options
        if self.name.given != self.name.camel:
            yield f'name = "{self.full_name}"'
        yield f'queue = "{wanted["queue"]}"'
        if wanted["frequency"]:
            yield f"frequency = {wanted['frequency']:_}  # milliseconds"
        for text in ("cron", "timezone"):
            if wanted[text]:
                yield f'{text} = "{wanted[text]}"'
        if wanted["plugins"]:
            quoted = ", ".join(f'"{each}"' for each in wanted["plugins"])
            yield f"plugins = [{quoted}]"
        if wanted["retry"]:
            yield f"retry = {wanted['retry']}"
        if wanted["timeout"]:
            yield f"time_limit = {wanted['timeout']:_}  # milliseconds"
