"""A project: its folder with config, tasks and the rest, loaded and checked; and its Redis."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from resqpy.base.errors import UsageError
from resqpy.embedded import EmbeddedServer, acquire
from resqpy.framework.config import Config, load_config
from resqpy.framework.connection import redis_options
from resqpy.framework.loader import Loader
from resqpy.framework.modules import module_folders
from resqpy.framework.overrides import PARTS, part
from resqpy.framework.problems import Problem, Problems, ProjectErrors
from resqpy.framework.registry import Registry
from resqpy.store.options import RedisOptions


class Project:
    """A loaded project.

    Attributes:
        root: its folder.
        config: frozen; where a setting was wrong, its default.
        registry: the tasks that are right.
        errors: all that is wrong; `check` raises it.
    """

    def __init__(
        self, root: Path, config: Config, registry: Registry, errors: tuple[Problem, ...] = ()
    ) -> None:
        self.root = root
        self.config = config
        self.registry = registry
        self.errors = errors
        self._embedded: EmbeddedServer | None = None

    @classmethod
    def load(
        cls,
        root: str | os.PathLike[str] = ".",
        env: str | None = None,
        overrides: Mapping[str, Any] | None = None,
        *,
        environ: Mapping[str, str] | None = None,
    ) -> Self:
        """Load a folder: config, plugins, middleware, initializers, tasks. Never raises for what is
        wrong in them: see `errors` and `check`. A folder without any of it is a project, too.

        Args:
            env: the environment; None: RESQPY_ENV, else `test` under pytest, else `development`.
            overrides: settings by path that win over all others, as flags do:
                `{"tasks.timeout": 100}`; None as a value means "not given".
            environ: instead of `os.environ`.
        """
        folder = Path(root).resolve()
        if str(folder) not in sys.path:
            sys.path.append(str(folder))  # last, so that nothing of it shadows a package
        problems = Problems(folder)
        config = load_config(folder, env, overrides, environ=environ, problems=problems)
        loader = Loader(folder, problems, config.general.timezone)
        loader.load_project(module_folders(folder, config.general.modules, problems))
        if config.general.packages:
            loader.load_packages()
        _check_overrides(config, problems)
        return cls(folder, config, loader.registry, tuple(problems.found))

    @property
    def name(self) -> str:
        """The application's name."""
        return self.config.general.name or self.root.name

    def check(self) -> None:
        """Raise all that is wrong, together.

        Raises:
            ProjectErrors: it lists each problem with its file and line.
        """
        if self.errors:
            raise ProjectErrors(self.errors)

    def connection(self) -> RedisOptions:
        """The Redis that the config names; where it names none, the project's embedded one, which is
        started if it doesn't run yet (this blocks until it answers) and lasts until `close`.

        Raises:
            EmbeddedRedisError: there is no server to be had.
        """
        if not self.uses_embedded_redis:
            return redis_options(self.config)
        if self._embedded is None:
            self._embedded = acquire(self.root)
        return redis_options(self.config, self._embedded.url)

    @property
    def uses_embedded_redis(self) -> bool:
        """Whether `connection` leads to the project's own embedded Redis."""
        redis = self.config.redis
        return redis.url is None and redis.host is None and not redis.sentinels

    def close(self) -> None:
        """Give up the embedded Redis, if one is used; calling it twice does no harm."""
        embedded, self._embedded = self._embedded, None
        if embedded is not None:
            embedded.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _check_overrides(config: Config, problems: Problems) -> None:
    """Find out at once whether the replaced parts can be used."""
    for name in PARTS:
        try:
            part(name, config.tasks.resque_overrides)
        except UsageError as error:
            problems.add(str(error))
