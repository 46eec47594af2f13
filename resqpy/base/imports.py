"""The one place that turns a dotted name into the thing it names."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

from resqpy.base.errors import ImportFailed


def import_dotted(path: str) -> Any:
    """What `package.module.name` or `package.module:name` leads to.

    Raises:
        ImportFailed: no such module or no such name in it (with the nearest name).
    """
    module_name, colon, attribute = path.partition(":")
    if not colon:
        module_name, _, attribute = path.rpartition(".")
    if not module_name or not attribute:
        raise ImportFailed(f"{path!r} is not a dotted path such as 'package.module.Name'")
    try:
        target: Any = importlib.import_module(module_name)
    except Exception as error:  # the module may raise anything while it is imported
        raise ImportFailed(f"can't import {path!r}: {error!r}") from error
    for part in attribute.split("."):
        if not hasattr(target, part):
            hint = near_match(part, dir(target))
            raise ImportFailed(f"{module_name!r} has no {attribute!r}{hint}")
        target = getattr(target, part)
    return target


def names_at_first_use(
    package: str, modules: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` of a package whose names are imported when they are first used.

    Args:
        modules: the module below `resqpy` that defines it, by name.
    """

    def get(name: str) -> Any:
        if name not in modules:
            hint = near_match(name, modules)
            raise AttributeError(f"module {package!r} has no attribute {name!r}{hint}")
        value = import_dotted(f"resqpy.{modules[name]}:{name}")
        setattr(sys.modules[package], name, value)
        return value

    return get, lambda: sorted(modules)


class _FreshLoader(SourceFileLoader):
    """Reads the text each time: a file that was saved twice in a second has no new bytecode."""

    def get_code(self, fullname: str) -> Any:
        return self.source_to_code(self.get_data(self.path), self.path)


def import_file(path: Path, private_name: str) -> ModuleType:
    """Run a file as a module of a name that can't shadow a package (`config/redis.py` is not `redis`).

    Each call runs the file anew. What the file raises goes to the caller as it is.
    """
    loader = _FreshLoader(private_name, str(path))
    spec = importlib.util.spec_from_loader(private_name, loader)
    assert spec is not None  # a loader is given
    module = importlib.util.module_from_spec(spec)
    sys.modules[private_name] = module  # dataclasses and pickles of the file look it up
    try:
        loader.exec_module(module)
    except BaseException:
        sys.modules.pop(private_name, None)
        raise
    return module


@dataclass(frozen=True, slots=True)
class Brought:
    """What an installed package offers by an entry point.

    Attributes:
        label: the entry point and its package, for messages.
        package: name and version.
        thing: `ImportFailed` where it can't be imported.
    """

    label: str
    package: str
    thing: Any


def import_entry_points(group: str) -> Iterable[Brought]:
    """What installed packages offer in a group."""
    for entry in sorted(_metadata().entry_points(group=group), key=lambda each: each.name):
        package = f"{entry.dist.name} {entry.dist.version}"
        label = f"{entry.name} ({entry.value}) of the package {package}"
        try:
            thing = entry.load()
        except Exception as error:  # a package may raise anything while it is imported
            thing = ImportFailed(f"entry point {label} in {group!r}: {error!r}")
        yield Brought(label, package, thing)


def _metadata() -> Any:
    """Imported when it is used: with all that it imports, it costs 10 ms."""
    return importlib.import_module("importlib.metadata")


def package_version(name: str) -> str:
    """The version of an installed package."""
    return str(_metadata().version(name))


MISSPELLED = 0.8  # a cutoff: who wrote a name that is so near to a known one meant that one


def near_match(name: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """`; did you mean 'x'?` for the nearest known name, or an empty text.

    Args:
        cutoff: how near it must be, from 0 to 1.
    """
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=cutoff)
    return f"; did you mean {near[0]!r}?" if near else ""
