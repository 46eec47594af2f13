"""Reads resque-pool's `resque-pool.yml`: groups of queues, and how many jobs of each may run at once."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from resqpy.base.errors import UsageError
from resqpy.base.imports import near_match
from resqpy.cli.selection.schedule_file import mapping, read_yaml
from resqpy.engine.worker.queues import QueueNames


class QueueGroup(NamedTuple):
    """A group.

    Attributes:
        queues: by priority, as `--queues` takes them.
        jobs: how many may run at once.
    """

    queues: str
    jobs: int


def read_pool(path: Path, environment: str) -> list[QueueGroup]:
    """The groups of a file, in its order, without those of no jobs.

    Args:
        environment: whose section, if there is one, is added to what stands outside of sections.

    Raises:
        UsageError: it is no such file, or has no groups for the environment.
    """
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"the file {str(path)!r} can't be read: {error}") from error
    found = mapping(read_yaml(text), f"the file {str(path)!r}")
    sections = {name: each for name, each in found.items() if isinstance(each, dict)}
    own = mapping(sections.get(environment), f"the section {environment!r}")
    wanted = {**{name: each for name, each in found.items() if name not in sections}, **own}
    groups = [QueueGroup(queues, _jobs(queues, each)) for queues, each in wanted.items()]
    if not any(each.jobs for each in groups):
        named = f"; it has sections for {', '.join(sections)}" if sections else ""
        raise UsageError(
            f"the file {str(path)!r} has no groups of queues for the environment {environment!r}{named}"
            f"{near_match(environment, sections.keys() - {environment})}"
        )
    return [each for each in groups if each.jobs]


def _jobs(queues: str, value: object) -> int:
    QueueNames(queues)  # raises for what is none
    if not any(map(str.strip, queues.split(","))):
        raise UsageError(f"group {queues!r}: it names no queue")
    if type(value) is not int or not 0 <= value <= 10_000:
        raise UsageError(
            f"group {queues!r}: {value!r} is not how many jobs may run at once, 0 to 10,000"
        )
    return value
