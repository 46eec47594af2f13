"""The config: defaults, `config/` files, environment variables and flags, merged, checked, immutable.

Later sources override earlier ones: built-in default, a module's `config/`, the project's `default()`, its
function for the environment, an environment variable, a flag. The origin of each value is kept (`resqpy
config show --origin`).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from resqpy.base.errors import UsageError
from resqpy.base.imports import near_match
from resqpy.framework.config.files import USUAL_ENVIRONMENTS, Layer, folders_of, read_layers
from resqpy.framework.config.merge import Merge, Setting
from resqpy.framework.config.option import build
from resqpy.framework.config.sections import (
    SECTIONS,
    GeneralConfig,
    LoggerConfig,
    ProcessConfig,
    RedisConfig,
    SchedulerConfig,
    TasksConfig,
)
from resqpy.framework.project.files import module_folders
from resqpy.framework.project.problems import Problems

DEFAULT_ENVIRONMENT = "development"


class UserSection(Mapping[str, Any]):
    """A section of the project's own, accessed by key or attribute."""

    def __init__(self, name: str, values: Mapping[str, Any]) -> None:
        self._name = name
        self._values = MappingProxyType(dict(values))

    def __getitem__(self, key: str) -> Any:
        return self._values[key]

    def __getattr__(self, key: str) -> Any:
        if key.startswith("_") or key not in self._values:
            raise AttributeError(f"the config section {self._name!r} has no {key!r}")
        return self._values[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"<config {self._name}: {', '.join(self._values)}>"


@dataclass(frozen=True)
class Config:
    """The config of a project, for one environment.

    Attributes:
        own: the project's own sections, by name; also as attributes: `config.mail.host`.
        settings: every value with its origin.
    """

    environment: str
    general: GeneralConfig
    tasks: TasksConfig
    scheduler: SchedulerConfig
    redis: RedisConfig
    logger: LoggerConfig
    process: ProcessConfig
    own: Mapping[str, UserSection]
    settings: tuple[Setting, ...]

    def __getattr__(self, name: str) -> UserSection:
        own: Mapping[str, UserSection] = self.__dict__.get("own", {})
        if name not in own:
            raise AttributeError(f"there is no config section {name!r} (no config/{name}.py)")
        return own[name]

    def origin(self, path: str) -> str:
        """Where a setting such as `tasks.timeout` came from."""
        return next(each.origin for each in self.settings if each.path == path)


def environment_of(environ: Mapping[str, str] | None = None) -> str:
    """RESQPY_ENV; else `test` under pytest; else `development`."""
    environ = os.environ if environ is None else environ
    return environ.get("RESQPY_ENV") or ("test" if "pytest" in sys.modules else DEFAULT_ENVIRONMENT)


def load_config(
    root: Path,
    env: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    problems: Problems | None = None,
    code: Path | None = None,
) -> Config:
    """Read the config of a project.

    Args:
        root: the project's directory; it need not have a `config/`.
        env: the environment; None: see `environment_of`.
        overrides: values of flags by path, `{"tasks.timeout": 100}`.
        environ: instead of `os.environ`.
        problems: where to note what is wrong; without it, it is raised.
        code: the folder with `modules/`, where it is another.

    Raises:
        ProjectErrors: something is wrong, and `problems` was not given.
    """
    environ = os.environ if environ is None else environ
    collected = Problems(root) if problems is None else problems
    sources = _Sources(root, code or root, env or environment_of(environ), environ, overrides or {})
    merge = sources.merged(collected)
    if problems is None:
        collected.check()
    return _frozen(merge)


@dataclass(frozen=True)
class _Sources:
    """The sources of values."""

    root: Path
    code: Path
    environment: str
    environ: Mapping[str, str]
    overrides: Mapping[str, Any]

    def merged(self, problems: Problems) -> Merge:
        """All values, in order; the project's own settings decide first which modules count."""
        own = self._layers(problems)
        wanted = self._merge(own, Problems(self.root)).values["general.modules"]
        modules = [
            layer
            for folder in module_folders(self.code, wanted, problems)
            for layer in read_layers(folder / "config", self.environment, problems)
        ]
        self._check_environment([*modules, *own], problems)
        merge = self._merge([*modules, *own], problems)
        merge.check_together()
        return merge

    def _check_environment(self, layers: list[Layer], problems: Problems) -> None:
        """A misspelled environment would have no settings at all."""
        hint = near_match(self.environment, USUAL_ENVIRONMENTS)
        known = {*USUAL_ENVIRONMENTS, *(layer.function for layer in layers)}
        if hint and self.environment not in known:
            problems.add(
                f"RESQPY_ENV (--env): no file in config/ has a function {self.environment}(){hint}"
            )

    def _layers(self, problems: Problems) -> list[Layer]:
        try:
            folders = folders_of(self.root, self.environ.get("RESQPY_CONFIG"))
        except UsageError as error:
            problems.add(str(error))
            return []
        return [
            layer for folder in folders for layer in read_layers(folder, self.environment, problems)
        ]

    def _merge(self, layers: list[Layer], problems: Problems) -> Merge:
        merge = Merge(self.environment, problems)
        for layer in layers:
            merge.apply(layer)
        merge.apply_environ(self.environ)
        merge.apply_overrides(self.overrides)
        return merge


def _frozen(merge: Merge) -> Config:
    sections = {name: build(kind, merge.values, f"{name}.") for name, kind in SECTIONS.items()}
    own = {name: UserSection(name, values) for name, values in merge.own.values.items()}
    return Config(
        environment=merge.environment,
        own=MappingProxyType(own),
        settings=tuple(merge.settings()),
        **sections,
    )
