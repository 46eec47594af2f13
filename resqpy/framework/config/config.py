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
from typing import Any, TypeVar
from urllib.parse import quote

from resqpy.base.errors import UsageError
from resqpy.base.imports import import_dotted, near_match
from resqpy.engine.options import ScalingOptions, WorkerOptions
from resqpy.framework.config.kinds import build
from resqpy.framework.config.merge import (
    KNOWN,
    USUAL_ENVIRONMENTS,
    Layer,
    Merge,
    Setting,
    folders_of,
    read_layers,
)
from resqpy.framework.config.sections import (
    SECTIONS,
    GeneralConfig,
    LoggerConfig,
    ProcessConfig,
    RedisConfig,
    SchedulerConfig,
    SchedulerOptions,
    TasksConfig,
)
from resqpy.framework.project.files import module_folders
from resqpy.framework.project.problems import Problems
from resqpy.store.connection.options import RedisOptions

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


# Converts the config to the options of the store, the workers and the scheduler: the one translation of
# units (milliseconds outside, seconds inside).

T = TypeVar("T")


def _made(kind: type[T], config: Config, **others: Any) -> T:
    """Build options from the config, and others that the config expresses differently."""
    values = {each.path: each.value for each in config.settings}
    for path, option in KNOWN.items():
        if option.source is not None and issubclass(kind, option.source[0]):
            others.setdefault(option.source[1], _in_unit(option.source[1], kind, values[path]))
    return kind(**others)


def _in_unit(name: str, kind: Any, value: Any) -> Any:
    if value is None or not name.endswith("_s"):
        return value
    whole = isinstance(getattr(kind, name), int)
    return max(1, value // 1000) if whole else value / 1000


def redis_options(config: Config, url: str | None = None) -> RedisOptions:
    """How to connect to Redis.

    Args:
        url: overrides the config.
    """
    redis = config.redis
    return _made(
        RedisOptions,
        config,
        url=url or redis.url or url_of(redis),
        sentinel_kwargs=dict(redis.sentinel_options),
        extra=dict(config.tasks.connection_options),
    )


def url_of(redis: RedisConfig) -> str:
    """The URL for a host, port, database and login."""
    scheme = "rediss" if redis.ssl else "redis"
    login = ""
    if redis.user or redis.password:
        login = f"{quote(redis.user or '', safe='')}:{quote(redis.password or '', safe='')}@"
    host = redis.host or "127.0.0.1"
    host = f"[{host}]" if ":" in host else host
    return f"{scheme}://{login}{host}:{redis.port}/{redis.db}"


def worker_options(config: Config) -> WorkerOptions:
    """Options of workers."""
    return _made(WorkerOptions, config)


def scaling_options(config: Config) -> ScalingOptions:
    """The range of task processors; a worker that was requested runs even if both are 0."""
    tasks, usual = config.tasks, ScalingOptions()
    least, most = tasks.min_task_processors, tasks.max_task_processors
    if most == 0:
        least = least or usual.min_task_processors
        most = max(tasks.min_task_processors, usual.max_task_processors)
    return _made(ScalingOptions, config, min_task_processors=least, max_task_processors=most)


def scheduler_options(config: Config) -> SchedulerOptions:
    """Options of the scheduler."""
    own = config.scheduler.timeout
    timeout_ms = config.tasks.timeout if own is None else own
    archive = config.scheduler.failed_archive
    if isinstance(archive, str):
        archive = import_dotted(archive)
    return _made(SchedulerOptions, config, timeout_s=timeout_ms / 1000, failed_archive=archive)
