"""A project's directory, config and Redis: all that is needed to inspect its Redis; the project's code
isn't loaded.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from resqpy.framework.config.config import Config, load_config, redis_options
from resqpy.framework.config.merge import OVERRIDE
from resqpy.framework.project.layout import Layout
from resqpy.framework.project.problems import Problems
from resqpy.framework.project.root import REDIS_OF_TESTS
from resqpy.store.connection.options import RedisOptions

if TYPE_CHECKING:
    from resqpy.embedded import EmbeddedServer


class ProjectDirectory:
    """A directory with a config.

    Attributes:
        root: the folder.
        layout: where its code is.
        config: frozen.
    """

    def __init__(self, layout: Layout, config: Config) -> None:
        self.root: Path = layout.folder
        self.layout = layout
        self.config = config
        self._embedded: EmbeddedServer | None = None

    @classmethod
    def of(
        cls,
        root: str | os.PathLike[str] = ".",
        env: str | None = None,
        overrides: Mapping[str, Any] | None = None,
        *,
        lenient: bool = False,
    ) -> ProjectDirectory:
        """Read the config of a directory; like `Project.load`, but without its code.

        Args:
            lenient: what is wrong has its default, as in `Project.load`.

        Raises:
            ProjectErrors: all that is wrong with the config.
        """
        folder = Path(root).resolve()
        problems = Problems(folder)
        layout = Layout.of(folder, problems)
        config = load_config(folder, env, overrides, problems=problems, code=layout.root)
        if not lenient:
            problems.check()
        return ProjectDirectory(layout, config)

    @property
    def name(self) -> str:
        """The application's name."""
        return self.config.general.name or self.root.name

    def connection(self) -> RedisOptions:
        """The configured Redis; if none is configured, the project's embedded one, which is started if
        necessary (this blocks until it answers) and is used until `close`.

        Raises:
            EmbeddedRedisError: no server is available.
        """
        if (url := self._redis_of_test()) is not None:
            made = redis_options(
                self.config, url
            )  # what stands beside a URL leads to another Redis
            return replace(made, sentinels=(), cluster=False, seeds=(), extra={})
        if not self.uses_embedded_redis:
            return redis_options(self.config)
        self.begin()
        assert self._embedded is not None  # it has begun
        try:
            self._embedded.wait()
        except BaseException:
            self.close()
            raise
        return redis_options(self.config, self._embedded.url)

    def begin(self) -> None:
        """Start the embedded Redis without waiting for it, if `connection` will use one.

        Raises:
            EmbeddedRedisError: no server is available.
        """
        if self._embedded is None and self.uses_embedded_redis and not REDIS_OF_TESTS:
            from resqpy.embedded import begin  # noqa: PLC0415 - who has a Redis needs none

            self._embedded = begin(self.root)

    def _redis_of_test(self) -> str | None:
        """Under our pytest plugin no project uses another Redis than the test's, unless its caller names one."""
        if not REDIS_OF_TESTS or self.config.origin("redis.url") == OVERRIDE:
            return None
        return REDIS_OF_TESTS[-1]()

    @property
    def uses_embedded_redis(self) -> bool:
        """Whether `connection` uses the project's own embedded Redis."""
        redis = self.config.redis
        return redis.url is None and redis.host is None and not redis.sentinels

    def close(self) -> None:
        """Release the embedded Redis, if one is used; calling it twice does no harm."""
        embedded, self._embedded = self._embedded, None
        if embedded is not None:
            embedded.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
