"""Merging what several sources say of one setting, checking it, and keeping where it came from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resqpy.base.errors import UsageError
from resqpy.base.imports import near_match
from resqpy.framework.config_files import Layer
from resqpy.framework.defaults import SECTIONS
from resqpy.framework.kinds import FLAG, split
from resqpy.framework.options import Option, options_of
from resqpy.framework.problems import Problems, line_of

DEFAULT = "default"
_SAME = 0.8  # a section's name that is so near to one of ours is a mistake


@dataclass(frozen=True, slots=True)
class Setting:
    """A value and where it came from.

    Attributes:
        path: `tasks.timeout`.
        variable: its environment variable.
    """

    path: str
    value: Any
    origin: str
    words: str
    variable: str
    secret: bool = False

    def shown(self) -> str:
        """The value for a person, without secrets."""
        return "***" if self.secret and self.value else repr(self.value)


def variable_of(path: str) -> str:
    """The environment variable of a setting: `tasks.timeout` is RESQPY_TASKS_TIMEOUT."""
    return "RESQPY_" + path.replace(".", "_").upper()


KNOWN: dict[str, Option] = {
    f"{section}.{option.path}": option
    for section, declared in SECTIONS.items()
    for option in options_of(declared)
}


class Merge:
    """The settings while sources are applied, the weakest first."""

    def __init__(self, environment: str, problems: Problems) -> None:
        self.environment = environment
        self.own: dict[str, dict[str, Any]] = {}
        self._problems = problems
        self.values: dict[str, Any] = {path: option.default for path, option in KNOWN.items()}
        self.origins: dict[str, str] = dict.fromkeys(KNOWN, DEFAULT)
        for section, declared in SECTIONS.items():
            for name, value in _in_environment(declared, environment).items():
                self._keep(f"{section}.{name}", value, f"{DEFAULT} in {environment}")

    def _keep(self, path: str, value: Any, origin: str) -> None:
        self.values[path], self.origins[path] = value, origin

    # -- files --

    def apply(self, layer: Layer) -> None:
        """What a function of a config file says."""
        if layer.section in SECTIONS:
            self._apply_known(layer, layer.section, layer.values)
        elif hint := near_match(layer.section, SECTIONS, _SAME):
            self._problems.add(f"there is no config section {layer.section!r}{hint}", layer.path)
        else:
            self._apply_own(layer)

    def _apply_known(self, layer: Layer, prefix: str, values: Mapping[Any, Any]) -> None:
        for name, value in values.items():
            path = f"{prefix}.{name}"
            if path in KNOWN:
                self._check(path, value, layer)
            elif self._is_group(path) and isinstance(value, Mapping):
                self._apply_known(layer, path, value)
            elif self._is_group(path):
                self._complain(layer, name, f"{path} is {value!r}, not a dict")
            else:
                self._complain(layer, name, unknown(path))

    def _is_group(self, path: str) -> bool:
        return any(known.startswith(f"{path}.") for known in KNOWN)

    def _check(self, path: str, value: Any, layer: Layer) -> None:
        try:
            self._keep(path, KNOWN[path].kind.check(value), layer.origin)
        except UsageError as error:
            self._complain(layer, path.rpartition(".")[2], f"{path}: {error}")

    def _complain(self, layer: Layer, name: Any, message: str) -> None:
        self._problems.add(message, layer.path, _line_with(layer.path, layer.function, str(name)))

    def _apply_own(self, layer: Layer) -> None:
        values = self.own.setdefault(layer.section, {})
        for name, value in layer.values.items():
            if layer.function != "default" and values and name not in values:
                hint = near_match(str(name), values)
                message = f"default() has no {name!r}, so {layer.function}() can't change it{hint}"
                self._complain(layer, name, message)
            else:
                values[str(name)] = value
                self.origins[f"{layer.section}.{name}"] = layer.origin

    # -- environment variables --

    def apply_environ(self, environ: Mapping[str, str]) -> None:
        """What environment variables say: ours before the historic ones."""
        for path, option in KNOWN.items():
            self._apply_historic(path, option, environ)
            self._apply_variable(path, option, environ)
        self._apply_own_variables(environ)
        self._refuse_unknown(environ)

    def _apply_historic(self, path: str, option: Option, environ: Mapping[str, str]) -> None:
        for older in option.historic:
            text = environ.get(older.name, "")
            converted = older.convert(text) if text else None
            if converted is not None:
                self._parse(path, option.kind.parse, converted, older.name)
                return

    def _apply_variable(self, path: str, option: Option, environ: Mapping[str, str]) -> None:
        name = variable_of(path)
        if name in environ:
            self._parse(path, option.kind.parse, environ[name], name)
        elif option.secret and f"{name}_FILE" in environ:
            self._parse_file(path, option, environ[f"{name}_FILE"], f"{name}_FILE")

    def _parse_file(self, path: str, option: Option, file: str, name: str) -> None:
        try:
            text = Path(file).read_text().strip()
        except OSError as error:
            self._problems.add(f"environment variable {name}: {error}")
            return
        self._parse(path, option.kind.parse, text, name)

    def _parse(self, path: str, parse: Callable[[str], Any], text: str, name: str) -> None:
        try:
            value = KNOWN[path].kind.check(parse(text))
        except UsageError as error:
            self._problems.add(f"environment variable {name}: {error}")
            return
        self._keep(path, value, f"environment {name}")

    def _apply_own_variables(self, environ: Mapping[str, str]) -> None:
        for section, values in self.own.items():
            for key, value in values.items():
                name = variable_of(f"{section}.{key}")
                if name in environ:
                    values[key] = _like(value, environ[name])
                    self.origins[f"{section}.{key}"] = f"environment {name}"

    def _refuse_unknown(self, environ: Mapping[str, str]) -> None:
        known = {variable_of(path) for path in self.origins}
        known |= {f"{variable_of(path)}_FILE" for path, option in KNOWN.items() if option.secret}
        prefixes = tuple(variable_of(f"{name}.") for name in (*SECTIONS, *self.own))
        for name in environ:
            if name.startswith(prefixes) and name not in known:
                self._problems.add(f"unknown environment variable {name}{near_match(name, known)}")

    # -- flags --

    def apply_overrides(self, overrides: Mapping[str, Any]) -> None:
        """What flags say: values by path; None means that the flag was not given."""
        for path, value in overrides.items():
            if value is None:
                continue
            if path not in KNOWN:
                self._problems.add(unknown(path))
                continue
            try:
                self._keep(path, KNOWN[path].kind.check(value), "command line")
            except UsageError as error:
                self._problems.add(f"{path}: {error}")

    # -- the result --

    def check_together(self) -> None:
        """What is right by itself may be wrong beside another."""
        least, most = (self.values[f"tasks.{each}_task_processors"] for each in ("min", "max"))
        if least > most > 0:
            self._problems.add(
                f"tasks.min_task_processors is {least} ({self.origins['tasks.min_task_processors']}), "
                f"more than tasks.max_task_processors, which is {most} "
                f"({self.origins['tasks.max_task_processors']})"
            )

    def settings(self) -> Iterator[Setting]:
        """All settings with their origin."""
        for path, option in KNOWN.items():
            yield Setting(
                path, self.values[path], self.origins[path], option.words, variable_of(path),
                option.secret,
            )  # fmt: skip
        for section, values in self.own.items():
            for key, value in values.items():
                path = f"{section}.{key}"
                yield Setting(path, value, self.origins[path], "", variable_of(path))


def _in_environment(declared: type, environment: str) -> Mapping[str, Any]:
    """The defaults that a section has for one environment only."""
    special: Mapping[str, Mapping[str, Any]] = getattr(declared, "IN_ENVIRONMENT", {})
    return special.get(environment, {})


def unknown(path: str) -> str:
    """The message for a setting that nobody knows."""
    hint = near_match(path, KNOWN)
    return f"unknown setting {path!r}{hint}"


def _like(value: Any, text: str) -> Any:
    """A text as the kind of value that the section's `default()` has."""
    if isinstance(value, bool):
        return FLAG.parse(text)
    if isinstance(value, int | float):
        return type(value)(text)
    return split(text) if isinstance(value, list | tuple) else text


def _line_with(path: Path, function: str, key: str) -> int | None:
    """The line of a function in which a key stands, else the function's."""
    start = line_of(path, function)
    lines = path.read_text().splitlines()
    for number in range(start or 1, len(lines) + 1):
        if f'"{key}"' in lines[number - 1] or f"'{key}'" in lines[number - 1]:
            return number
        if f"{key}=" in lines[number - 1]:
            return number
    return start
