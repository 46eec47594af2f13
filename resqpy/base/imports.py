"""The one place that turns a dotted name into the thing it names."""

from __future__ import annotations

import difflib
import hashlib
import importlib
import importlib.util
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

from resqpy.base.error_text import repr_of
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
        raise ImportFailed(f"can't import {path!r}: {repr_of(error)}") from error
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


def import_file(path: Path, name: str) -> ModuleType:
    """Run a file as a module of a name, one that can't shadow a package (`config/redis.py` is not `redis`).

    Each call runs the file anew. What the file raises goes to the caller as it is.
    """
    loader = _FreshLoader(name, str(path))
    spec = importlib.util.spec_from_loader(name, loader)
    assert spec is not None  # a loader is given
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickles of the file look it up
    try:
        loader.exec_module(module)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    return module


class OwnModules:
    """A project's files as modules, under the names by which an `import` finds them: `tasks/mail.py` is
    `tasks.mail`. A file is run once, whoever imports it first and by whatever name.

    Where such a name belongs to somebody else (an installed package is called `tasks`), the file gets a
    private one. Modules of a project that was loaded before, and those of this one if a file has
    changed since, are forgotten.

    Args:
        root: the project's folder; it is on the module path.
        folders: those in it whose files are loaded.
    """

    _run: ClassVar[dict[str, tuple[Path, bytes]]] = {}  # by name: the file, and its text's digest
    _roots: ClassVar[set[Path]] = set()  # of all projects so far

    def __init__(self, root: Path, folders: Iterable[str]) -> None:
        self._root = root
        self._roots.add(root)
        if any(not path.is_relative_to(root) or _digest(path) != digest
               for path, digest in self._run.values()):  # fmt: skip
            for name in self._run:
                _forget(name)
            self._run.clear()
            importlib.invalidate_caches()
        for folder in folders:
            if (root / folder).is_dir():
                self._come_first(folder)

    def _come_first(self, folder: str) -> None:
        """Let names below one of our folders lead to it, also from a file that is run before those."""
        try:
            if not self._is_ours((folder,)):
                return
        except Exception:  # its `__init__.py` may raise anything: told when that is loaded
            return
        for name, module in list(sys.modules.items()):
            file = getattr(module, "__dict__", {}).get("__file__")
            if not name.startswith(f"{folder}.") or not isinstance(file, str):
                continue
            ours = self._root.joinpath(*name.split("."))
            here = Path(os.path.realpath(file)).is_relative_to(self._root)
            if not here and (ours.with_suffix(".py").is_file() or ours.is_dir()):
                del sys.modules[name]

    def load(self, path: Path) -> ModuleType:
        """The module of a file below the root. What it raises goes to the caller as it is."""
        parts = path.relative_to(self._root).with_suffix("").parts
        parts = parts[:-1] if path.stem == "__init__" else parts
        name = ".".join(parts)
        module = _module_of(path)
        if module is not None:
            sys.modules.setdefault(name, module)
        elif any("." in each for each in parts) or not self._is_ours(parts[:-1]):
            name = f"_resqpy.{self._root.name}.{name}"
            module = import_file(path, name)
        elif path.stem == "__init__":
            module = importlib.import_module(name)
        else:
            module = import_file(path, name)
            setattr(sys.modules[".".join(parts[:-1])], parts[-1], module)
        self._run[name] = (path, _digest(path))
        return module

    def _is_ours(self, parts: Sequence[str]) -> bool:
        """Whether the name of a package leads to our folder; a folder that others share by its name
        is looked into first.
        """
        for count in range(1, len(parts) + 1):
            package = importlib.import_module(".".join(parts[:count]))
            folder = str(self._root.joinpath(*parts[:count]))
            places = list(getattr(package, "__path__", ()))
            if [os.path.realpath(each) for each in places[:1]] == [folder]:
                continue
            if not places or getattr(package, "__file__", None) is not None:
                return False
            others = [self._of_another(each, parts[:count]) for each in places]
            kept = [each for each, gone in zip(places, others, strict=True) if not gone]
            package.__path__ = [folder, *(each for each in kept if each != folder)]
        return True

    def _of_another(self, folder: str, parts: Sequence[str]) -> bool:
        """Whether it is the same folder of a project that was loaded before."""
        return any(
            str(root.joinpath(*parts)) == os.path.realpath(folder)
            for root in self._roots - {self._root}
        )


def _forget(name: str) -> None:
    """Let a module be imported anew, and with it the folders above it, which know it as an attribute."""
    sys.modules.pop(name, None)
    while name := name.rpartition(".")[0]:
        if name in sys.modules and getattr(sys.modules[name], "__file__", None) is None:
            del sys.modules[name]


def _module_of(path: Path) -> ModuleType | None:
    """The module that runs a file, or has run it."""
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__dict__", {}).get("__file__")
        if not isinstance(file, str) or not file.endswith(path.name) or name == "__main__":
            continue
        if os.path.realpath(file) == str(path):
            return module
    return None


def _digest(path: Path) -> bytes:
    try:
        return hashlib.sha256(path.read_bytes()).digest()
    except OSError:
        return b""


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
            thing = ImportFailed(f"entry point {label} in {group!r}: {repr_of(error)}")
        yield Brought(label, package, thing)


def _metadata() -> Any:
    """Imported when it is used: with all that it imports, it costs 10 ms."""
    return importlib.import_module("importlib.metadata")


def package_version(name: str) -> str:
    """The version of an installed package."""
    return str(_metadata().version(name))


MISSPELLED = 0.8  # a cutoff: who wrote a name that is so near to a known one meant that one


def near_match(name: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """`; did you mean 'x'?` for the nearest known name, or an empty text. Another style of the same words,
    as `lockTimeout`, is no difference.

    Args:
        cutoff: how near it must be, from 0 to 1.
    """
    by_letters = {_letters(each): each for each in known}
    near = difflib.get_close_matches(_letters(name), list(by_letters), n=1, cutoff=cutoff)
    return f"; did you mean {by_letters[near[0]]!r}?" if near else ""


def _letters(name: str) -> str:
    return name.replace("_", "").replace("-", "").lower()


def misspelled(kind: type, base: type, known: Sequence[str]) -> list[str]:
    """What a person is told of a class: `has 'strat'; did you mean 'start'?`.

    A name that has a known one in it (`restart`) is one of the user's own.
    """
    own = [name for name in vars(kind) if not name.startswith("_") and not hasattr(base, name)]
    hints = [
        (name, near_match(name, known, MISSPELLED))
        for name in own
        if not any(each in name for each in known)
    ]
    return [f"has {name!r}{hint}" for name, hint in hints if hint]
