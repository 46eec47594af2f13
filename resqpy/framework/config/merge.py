"""Merges the sources of each setting, checks the values, and keeps their origin."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from resqpy.base.errors import ImportFailed, UsageError
from resqpy.base.imports import MISSPELLED, import_file, near_match
from resqpy.base.masking import MASK, masked, masked_url
from resqpy.framework.config.kinds import FILE_OR_NONE, FLAG, Option, options_of, split, wrong
from resqpy.framework.config.sections import SECTIONS
from resqpy.framework.project.files import python_files
from resqpy.framework.project.problems import Problems, line_of

# The files of `config/`: one section each, with `default()` and a function per environment.
#
# They are run under private module names, so a `config/redis.py` never shadows the package `redis`.

USUAL_ENVIRONMENTS = ("default", "development", "test", "staging", "production")


@dataclass(frozen=True, slots=True)
class Layer:
    """The result of one function of one file.

    Attributes:
        values: as the function returned them, nested.
        origin: description for people.
    """

    section: str
    values: Mapping[str, Any]
    origin: str
    path: Path
    function: str


def read_layers(folder: Path, environment: str, problems: Problems) -> Iterator[Layer]:
    """The settings in a directory's files for an environment, general before specific."""
    for path in python_files(folder, problems):
        try:
            module = import_file(path, f"_resqpy_config.{folder.parent.name}.{path.stem}")
        except (Exception, SystemExit) as error:  # a user's file may raise anything
            problems.add_error(error, path)
            continue
        yield from _layers_of(module, path, environment, problems)


def _layers_of(
    module: ModuleType, path: Path, environment: str, problems: Problems
) -> Iterator[Layer]:
    functions = _functions(module)
    _check_names(functions, path, problems)
    for name in ("default", environment):  # these may be imported too
        if inspect.isfunction(found := getattr(module, name, None)):
            functions[name] = found
    if "default" not in functions and environment not in functions:
        hint = f"; rename {next(iter(functions))}()" if len(functions) == 1 else ""
        problems.add(f"has no function default() that returns this section's settings{hint}", path)
    for name in dict.fromkeys(("default", environment)):
        if name in functions:
            yield from _layer(functions[name], name, path, problems)


def _functions(module: ModuleType) -> dict[str, Callable[[], Any]]:
    own = {
        name: value
        for name, value in vars(module).items()
        if inspect.isfunction(value) and value.__module__ == module.__name__
    }
    return {name: value for name, value in own.items() if not name.startswith("_")}


def _check_names(functions: Mapping[str, Any], path: Path, problems: Problems) -> None:
    for name in functions:
        hint = near_match(name, USUAL_ENVIRONMENTS)
        if hint and name not in USUAL_ENVIRONMENTS:
            problems.add(f"{name}() is for an unknown environment{hint}", path, line_of(path, name))


def _layer(
    function: Callable[[], Any], name: str, path: Path, problems: Problems
) -> Iterator[Layer]:
    if reason := _not_callable(function):
        problems.add(f"{name}() {reason}", path, line_of(path, name))
        return
    try:
        values = function()
    except (Exception, SystemExit) as error:  # a user's function may raise anything
        problems.add_error(error, path)
        return
    if not isinstance(values, Mapping):
        problems.add(f"{name}() returned {values!r}, not a dict", path, line_of(path, name))
        return
    yield Layer(path.stem, values, f"{problems.name(path)} {name}()", path, name)


def _not_callable(function: Callable[..., Any]) -> str:
    """Why a function can't be called as a config function; an empty text if it can."""
    if inspect.iscoroutinefunction(function):
        return "is async, but the config is read before anything runs; make it a plain function"
    needed = [
        name
        for name, each in inspect.signature(function).parameters.items()
        if each.default is each.empty and each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)
    ]
    return f"takes {', '.join(needed)}, but gets nothing; import `api`" if needed else ""


def folders_of(root: Path, given: str | None) -> list[Path]:
    """The config directories: `config/`, or those of RESQPY_CONFIG (comma-separated; empty: none), later ones
    take precedence.

    Raises:
        ImportFailed: a directory that was named does not exist.
    """
    if given is None:
        return [root / "config"]
    folders = [root / part.strip() for part in given.split(",") if part.strip()]
    for folder in folders:
        if not folder.is_dir():
            raise ImportFailed(f"RESQPY_CONFIG: {folder} is not a directory")
    return folders


DEFAULT = "default"
OVERRIDE = "command line"  # or the arguments of whoever loads the project


@dataclass(frozen=True, slots=True)
class Setting:
    """A value and its origin.

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

    @property
    def masked(self) -> Any:
        """The value with secrets hidden."""
        if isinstance(self.value, str) and "://" in self.value:
            return masked_url(self.value)
        if self.secret:
            return MASK if self.value else self.value
        return masked(self.path.rpartition(".")[2], self.value)

    def shown(self) -> str:
        """The same as text for people."""
        return MASK if self.masked == MASK else repr(self.masked)


def variable_of(path: str) -> str:
    """The environment variable of a setting: `tasks.timeout` is RESQPY_TASKS_TIMEOUT."""
    return "RESQPY_" + path.replace(".", "_").upper()


KNOWN: dict[str, Option] = {
    f"{section}.{option.path}": option
    for section, declared in SECTIONS.items()
    for option in options_of(declared)
}


class Merge:
    """The settings while sources are applied, lowest precedence first."""

    def __init__(self, environment: str, problems: Problems) -> None:
        self.environment = environment
        self.own = OwnSections()
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
        """Apply a function of a config file."""
        if layer.section in SECTIONS:
            self._apply_known(layer, layer.section, layer.values)
        elif hint := near_match(layer.section, SECTIONS, MISSPELLED):
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
            checked = KNOWN[path].checked(value)
        except UsageError as error:
            self._complain(layer, path.rpartition(".")[2], f"{path}: {error}")
            return
        if checked is not None and KNOWN[path].kind is FILE_OR_NONE:
            checked = str(self._problems.root / checked)  # independent of the working directory
        self._keep(path, checked, layer.origin)

    def _complain(self, layer: Layer, name: Any, message: str) -> None:
        self._problems.add(message, layer.path, _line_with(layer.path, layer.function, str(name)))

    def _apply_own(self, layer: Layer) -> None:
        for name, message in self.own.apply(layer):
            self._complain(layer, name, message)

    # -- environment variables --

    def apply_environ(self, environ: Mapping[str, str]) -> None:
        """Apply environment variables: ours take precedence over the historic ones."""
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
                self._parse(path, option, converted, older.name, text)
                return

    def _apply_variable(self, path: str, option: Option, environ: Mapping[str, str]) -> None:
        name = variable_of(path)
        if name in environ:
            self._parse(path, option, environ[name], name)
        elif option.secret and f"{name}_FILE" in environ:
            self._parse_file(path, option, environ[f"{name}_FILE"], f"{name}_FILE")

    def _parse_file(self, path: str, option: Option, file: str, name: str) -> None:
        try:
            text = Path(file).read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            self._problems.add(f"environment variable {name}: {error}")
            return
        self._parse(path, option, text, name)

    def _parse(
        self, path: str, option: Option, text: str, name: str, given: str | None = None
    ) -> None:
        try:
            value = option.parsed(text)
        except UsageError as error:
            also = "" if option.secret or given in {None, text} else f" ({given!r})"
            self._problems.add(f"environment variable {name}{also}: {error}")
            return
        self._keep(path, value, f"environment {name}")

    def _apply_own_variables(self, environ: Mapping[str, str]) -> None:
        for path, _ in list(self.own.settings()):
            name = variable_of(path)
            if name not in environ:
                continue
            try:
                self.own.set_from_text(path, environ[name], f"environment {name}")
            except UsageError as error:
                self._problems.add(f"environment variable {name}: {error}")

    def _refuse_unknown(self, environ: Mapping[str, str]) -> None:
        known = {variable_of(path) for path in (*KNOWN, *self.own.origins)}
        known |= {f"{variable_of(path)}_FILE" for path, option in KNOWN.items() if option.secret}
        prefixes = tuple(variable_of(f"{name}.") for name in (*SECTIONS, *self.own.values))
        for name in environ:
            if name.startswith(prefixes) and name not in known:
                self._problems.add(f"unknown environment variable {name}{near_match(name, known)}")

    # -- flags --

    def apply_overrides(self, overrides: Mapping[str, Any]) -> None:
        """Apply flags: values by path; None means that the flag was not given."""
        for path, value in overrides.items():
            if value is None:
                continue
            if path not in KNOWN:
                self._problems.add(unknown(path))
                continue
            try:
                self._keep(path, KNOWN[path].checked(value), OVERRIDE)
            except UsageError as error:
                self._problems.add(f"{path}: {error}")

    # -- the result --

    def check_together(self) -> None:
        """Check settings that depend on each other."""
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
        for path, value in self.own.settings():
            yield Setting(path, value, self.own.origins[path], "", variable_of(path))


def _in_environment(declared: type, environment: str) -> Mapping[str, Any]:
    """The defaults that a section has for one environment only."""
    special: Mapping[str, Mapping[str, Any]] = getattr(declared, "IN_ENVIRONMENT", {})
    return special.get(environment, {})


def unknown(path: str) -> str:
    """The message for an unknown setting, with the nearest name at its place."""
    group, _, name = path.rpartition(".")
    if name in SECTIONS and name == group:
        return f"unknown setting {path!r}; the file is the section: return its settings themselves"
    begin = f"{group}."
    beside = {each[len(begin) :].partition(".")[0] for each in KNOWN if each.startswith(begin)}
    near = [f"{begin}{each}" for each in sorted(beside) if near_match(name, [each])]
    elsewhere = [each for each in KNOWN if each.endswith(f".{name}")]
    if near or elsewhere:
        return f"unknown setting {path!r}{near_match(path, near or elsewhere, 0.4)}"
    return f"unknown setting {path!r}{near_match(path, KNOWN, MISSPELLED)}"


def _line_with(path: Path, function: str, key: str) -> int | None:
    """The line of a function that contains a key, else the function's."""
    start = line_of(path, function)
    lines = path.read_text("utf-8", errors="replace").splitlines()
    for number in range(start or 1, len(lines) + 1):
        if f'"{key}"' in lines[number - 1] or f"'{key}'" in lines[number - 1]:
            return number
        if f"{key}=" in lines[number - 1]:
            return number
    return start


Values = dict[str, Any]


class OwnSections:
    """The project's own sections by name: any file in `config/` that resqpy itself doesn't read.

    As in ActionHero, the result of an environment's function is merged into that of `default()`, including
    nested dicts.

    Attributes:
        origins: where each value came from, by path.
    """

    def __init__(self) -> None:
        self.values: dict[str, Values] = {}
        self.origins: dict[str, str] = {}

    def apply(self, layer: Layer) -> Iterator[tuple[str, str]]:
        """Apply a function of a config file; yields names that it can't change, and why."""
        values = self.values.setdefault(layer.section, {})
        for name, value in layer.values.items():
            if layer.function != "default" and values and name not in values:
                hint = near_match(str(name), values)
                why = f"default() has no {name!r}, so {layer.function}() can't change it{hint}"
                yield str(name), why
            else:
                self._put(values, str(name), value, f"{layer.section}.{name}", layer.origin)

    def _put(self, values: Values, name: str, value: Any, path: str, origin: str) -> None:
        if not isinstance(value, Mapping):
            values[name], self.origins[path] = value, origin
            return
        inner = values.get(name)
        if not isinstance(inner, dict):
            inner = values[name] = {}
            self.origins[path] = origin
        for key, each in value.items():
            self._put(inner, key, each, f"{path}.{key}", origin)

    def settings(self) -> Iterator[tuple[str, Any]]:
        """All values by path; those in dicts individually."""
        for section, values in self.values.items():
            yield from _leaves(section, values)

    def set_from_text(self, path: str, text: str, origin: str) -> None:
        """Set a value from an environment variable, parsed like the existing value.

        Raises:
            UsageError: it can't be parsed.
        """
        *above, name = path.split(".")
        values: Any = self.values
        for each in above:
            values = values[each]
        values[name] = _like(values[name], text)
        self.origins[path] = origin


def _leaves(path: str, values: Mapping[Any, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, dict) and value and all(isinstance(each, str) for each in value):
            yield from _leaves(f"{path}.{name}", value)
        else:
            yield f"{path}.{name}", value


def _like(value: Any, text: str) -> Any:
    """Parse a text as the type of value that the section's `default()` has."""
    if isinstance(value, bool):
        return FLAG.parse(text)
    if isinstance(value, int | float):
        try:
            return type(value)(text)
        except ValueError as error:
            raise wrong(text, "a whole number" if isinstance(value, int) else "a number") from error
    return split(text) if isinstance(value, list | tuple) else text
