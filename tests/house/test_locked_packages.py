"""The lock is complete: what is installed from it without resolving lacks nothing, on any machine.

What each package requires is read from the packages that are installed here, and asked for each Python and
platform that resqpy supports.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.source import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCK = (ROOT / "tests" / "requirements.lock").read_text()
SHELL = (ROOT / "bin" / "_env.sh").read_text()

LOCKED: dict[str, tuple[str, Marker | None]] = {
    name: (version, Marker(marker) if marker else None)
    for name, version, marker in re.findall(
        r"^([a-z0-9][\w.-]*)==([^ ]+)(?: ; (.+?))? \\$", LOCK, re.MULTILINE
    )
}
ENVIRONMENTS = [
    {
        "python_version": python.rpartition(".")[0], "python_full_version": python,
        "implementation_version": python, "sys_platform": platform, "platform_machine": machine,
        "platform_system": {"linux": "Linux", "darwin": "Darwin"}[platform], "os_name": "posix",
    }
    for python in ("3.11.2", "3.11.9", "3.12.1", "3.13.0", "3.14.0")
    for platform, machine in (("linux", "x86_64"), ("linux", "aarch64"), ("darwin", "arm64"))
]  # fmt: skip


def names_of(environment: Mapping[str, str]) -> str:
    """For the list of tests."""
    return " ".join(
        environment[key] for key in ("python_full_version", "sys_platform", "platform_machine")
    )


@cache
def requirements_of(name: str) -> list[Requirement]:
    """What a package says that it requires; nothing where it is for other machines than this one."""
    try:
        return [Requirement(line) for line in distribution(name).requires or ()]
    except PackageNotFoundError:
        marker = LOCKED[name][1]
        assert marker is not None, f"{name} is locked and not installed"
        assert not marker.evaluate(), f"{name} is locked and not installed"
        return []


def wanted(requirement: Requirement, extras: Iterable[str], environment: Mapping[str, str]) -> bool:
    """Whether it counts on such a machine, for one who asked for these extras."""
    marker = requirement.marker
    return marker is None or any(
        marker.evaluate({**environment, "extra": extra}) for extra in ("", *extras)
    )


def closure(
    roots: Iterable[str], environment: Mapping[str, str]
) -> Iterator[tuple[str, Requirement]]:
    """All that is required, and by whom, level by level."""
    waiting = [("resqpy", Requirement(line)) for line in roots]
    seen = set()
    while waiting:
        by, requirement = waiting.pop()
        if str(requirement) in seen or not wanted(requirement, (), environment):
            continue
        seen.add(str(requirement))
        yield by, requirement
        name = canonicalize_name(requirement.name)
        if name in LOCKED:
            waiting += [
                (name, Requirement(_without_extra(each)))
                for each in requirements_of(name)
                if wanted(each, requirement.extras, environment)
            ]


def _without_extra(requirement: Requirement) -> str:
    """Its marker has been asked."""
    return str(requirement).partition(";")[0].strip()


def written_requirements() -> list[str]:
    """Of pyproject.toml and requirements.in: what `bin/lock` locks."""
    more = (ROOT / "tests" / "requirements.in").read_text()
    lines = [line.partition("#")[0].strip() for line in more.splitlines()]
    optional = PROJECT["project"]["optional-dependencies"]
    return [*runtime_requirements(), *optional["dev"], *filter(None, lines)]


def runtime_requirements() -> list[str]:
    """What resqpy needs to run from a clone, and to be installed."""
    project = PROJECT["project"]
    build = PROJECT["build-system"]["requires"]
    return [
        *project["dependencies"],
        *project["optional-dependencies"]["embedded"],
        *build,
        "editables",
    ]


@pytest.mark.parametrize("environment", ENVIRONMENTS, ids=names_of)
def test_all_that_is_required_is_locked(environment: dict[str, str]) -> None:
    """In a version that all who require it can use."""
    problems = []
    for by, requirement in closure(written_requirements(), environment):
        version, marker = LOCKED.get(canonicalize_name(requirement.name), (None, None))
        if version is None:
            problems.append(f"{by} requires {requirement}, which is not locked")
        elif not requirement.specifier.contains(version, prereleases=True):
            problems.append(f"{by} requires {requirement}, and {version} is locked")
        elif marker is not None and not marker.evaluate(environment):
            problems.append(
                f"{by} requires {requirement}, which is locked for other machines: {marker}"
            )

    assert problems == [], "run bin/lock"


def test_every_version_has_its_hash() -> None:
    """Pip refuses others, and so it must."""
    entries = re.split(r"^(?=[a-z0-9])", LOCK, flags=re.MULTILINE)[1:]

    assert len(entries) == len(LOCKED) > 50
    assert [entry for entry in entries if "--hash=sha256:" not in entry] == []


def test_the_packages_of_a_first_start_are_those_that_it_needs() -> None:
    """`RUNTIME` in bin/_env.sh is a part of the lock: all that resqpy requires, and nothing else."""
    [words] = re.findall(r'^RUNTIME="([^"]+)"', SHELL, re.MULTILINE)
    needed = {
        canonicalize_name(requirement.name)
        for environment in ENVIRONMENTS
        for _, requirement in closure(runtime_requirements(), environment)
    }

    assert words.split() == sorted(needed)
