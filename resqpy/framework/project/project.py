"""A project: its directory with config, tasks and the rest, loaded and checked; and its Redis."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from resqpy.base.errors import UsageError
from resqpy.base.imports import import_dotted
from resqpy.framework.config.config import Config, load_config
from resqpy.framework.project.files import module_folders
from resqpy.framework.project.layout import Layout
from resqpy.framework.project.loader import Loader
from resqpy.framework.project.overrides import PARTS, part
from resqpy.framework.project.place import ProjectDirectory
from resqpy.framework.project.problems import Problems, ProjectErrors, ProjectProblem
from resqpy.framework.project.registry import Registry


class Project(ProjectDirectory):
    """A loaded project.

    Attributes:
        root: its directory.
        config: immutable; invalid settings have their defaults.
        registry: the valid tasks.
        errors: all that is wrong; `check` raises it.
        warnings: what is allowed but probably unintended; reported in the log and by `resqpy doctor`.
    """

    def __init__(
        self,
        layout: Layout,
        config: Config,
        registry: Registry,
        errors: tuple[ProjectProblem, ...] = (),
        warnings: tuple[ProjectProblem, ...] = (),
    ) -> None:
        super().__init__(layout, config)
        self.registry = registry
        self.errors = errors
        self.warnings = warnings

    @classmethod
    def load(
        cls,
        root: str | os.PathLike[str] = ".",
        env: str | None = None,
        overrides: Mapping[str, Any] | None = None,
        *,
        environ: Mapping[str, str] | None = None,
        tasks: Sequence[str] | None = None,
    ) -> Self:
        """Load a directory: config, plugins, middleware, initializers, tasks. Never raises for problems in
        them: see `errors` and `check`. A directory without any of it is a project too.

        Args:
            env: the environment; None: RESQPY_ENV, else `test` under pytest, else `development`.
            overrides: settings by path that override all others, like flags: `{"tasks.timeout": 100}`; None
                as a value means "not given".
            environ: instead of `os.environ`.
            tasks: dotted names of the modules with tasks, instead of those that `[tool.resqpy]` in
                pyproject.toml names: `["myapp.jobs", "myapp.*.tasks"]`.
        """
        folder = Path(root).resolve()
        problems = Problems(folder)
        if not folder.is_dir():
            problems.add(f"there is no folder {folder}")
        layout = Layout.of(folder, problems, tasks)
        config = load_config(
            folder, env, overrides, environ=environ, problems=problems, code=layout.root
        )
        loader = Loader(layout, problems, config.general.timezone)
        if layout.django:
            connections = import_dotted("resqpy.contrib.django.apps:DjangoConnections")
            loader.registry.middleware.add(connections)
        modules = module_folders(layout.root, config.general.modules, problems)
        loader.load(modules, packages=config.general.packages)
        for task in loader.registry:
            task.inputs.hide(config.logger.filtered)
        _check_overrides(config, problems)
        return cls(layout, config, loader.registry, tuple(problems.found), tuple(problems.warnings))

    def check(self) -> None:
        """Raise all that is wrong, together.

        Raises:
            ProjectErrors: it lists each problem with its file and line.
        """
        if self.errors:
            raise ProjectErrors(self.errors)


def _check_overrides(config: Config, problems: Problems) -> None:
    """Find out early whether the replaced parts can be used."""
    overrides = config.tasks.resque_overrides
    for name in (each for each in PARTS if getattr(overrides, each) is not None):
        try:
            part(name, config)
        except UsageError as error:
            problems.add(str(error))
