"""The one place that imports by dotted name."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import os
import site
import sys
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from resqpy.base.errors import ImportFailed, printable, repr_of


def import_dotted(path: str) -> Any:
    """The object that `package.module.name` or `package.module:name` refers to.

    Raises:
        ImportFailed: there is no such module, or no such name in it (with the nearest name).
    """
    module_name, colon, attribute = path.partition(":")
    if not colon:
        module_name, _, attribute = path.rpartition(".")
    if not module_name or not attribute:
        raise ImportFailed(f"{path!r} is not a dotted path such as 'package.module.Name'")
    try:
        with _first_use if module_name.startswith("resqpy.") else nullcontext():
            target: Any = importlib.import_module(module_name)
    except Exception as error:  # a module may raise anything while it is imported
        hint = _hidden(error) if module_name.startswith("resqpy.") else ""
        raise ImportFailed(f"cannot import {path!r}: {repr_of(error)}{hint}") from error
    for part in attribute.split("."):
        if not hasattr(target, part):
            hint = near_match(part, dir(target))
            raise ImportFailed(f"{module_name!r} has no {attribute!r}{hint}")
        target = getattr(target, part)
    return target


def _hidden(error: Exception) -> str:
    """The remedy where a file of the user has the name of a module that we need, such as `queue.py`."""
    if not isinstance(error, ImportError) or not error.name or not error.path:
        return ""
    file = Path(error.path)
    installed = {str(Path(os.__file__).parent), *site.getsitepackages(), site.getusersitepackages()}
    if file.stem != error.name or str(file.parent) in installed:
        return ""
    return f"; {file} hides the module {error.name!r}, which resqpy needs: rename it"


class _FirstUse:
    """That a thread imports modules of ours at their first use: a fork waits for its end. A child that is forked
    meanwhile would wait forever for the lock of a module whose import nobody ends there.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._registered = False
        self._held: list[bool] = []  # by the fork that is under way

    def __enter__(self) -> None:
        self._lock.acquire()
        if not self._registered:
            self._registered = True
            # They take locks before forks, which imports need: ours is to be waited for first, so it comes last.
            for each in ("logging", "concurrent.futures.thread"):
                importlib.import_module(each)
            os.register_at_fork(
                before=self._wait, after_in_parent=self._go_on, after_in_child=self._go_on
            )

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def _wait(self) -> None:
        self._held.append(self._lock.acquire(timeout=_FORK_WAITS_S))

    def _go_on(self) -> None:
        if self._held.pop():
            self._lock.release()


_FORK_WAITS_S = 10.0  # our modules wait for nobody, but what others hang into imports and forks may
_first_use = _FirstUse()


def names_at_first_use(
    package: str, modules: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` of a package whose names are imported on first use.

    Args:
        modules: by name, the module below `resqpy` that defines it.
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
    """Reads the source each time: a file saved twice within a second has no new bytecode."""

    def get_code(self, fullname: str) -> Any:
        return self.source_to_code(self.get_data(self.path), self.path)


def import_file(path: Path, name: str) -> ModuleType:
    """Run a file as a module of the given name, which can't shadow a package (`config/redis.py` is not
    `redis`).

    Each call runs the file again. Errors of the file are raised unchanged.
    """
    loader = _FreshLoader(name, str(path))
    spec = importlib.util.spec_from_loader(name, loader)
    assert spec is not None  # a loader is given
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickle look it up
    try:
        loader.exec_module(module)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    return module


def import_own(name: str, path: Path) -> ModuleType:
    """The module of a file by the name under which an `import` finds it. It is run once, whoever imports it
    first: `sys.modules` decides. What it raises goes to the caller as it is.

    Args:
        path: the folder from which the name begins is on the module path.

    Raises:
        ImportFailed: the name, or that of a package above it, leads to another file.
    """
    if (loaded := _module_of(path)) is not None:
        sys.modules.setdefault(name, loaded)
        return loaded
    parts = name.split(".")
    place = path.parent if path.stem == "__init__" else path.with_suffix("")
    if place.parts[-len(parts) :] != tuple(parts):
        raise ImportFailed(f"no import finds {path}, for a name in it has a dot; rename it")
    for count in range(1, len(parts) + 1):
        above = len(parts) - count
        expected = place.parents[above - 1] if above else path
        found = places_of(prefix := ".".join(parts[:count]))
        if os.path.realpath(expected) not in map(os.path.realpath, found):
            raise ImportFailed(_clash(name, path, prefix, found))
    return importlib.import_module(name)


def places_of(name: str) -> list[str]:
    """Where a module is: the folders of a package, and its file. Nothing: there is none. The packages above it
    are imported for it.
    """
    module = sys.modules.get(name)
    if module is None:
        spec = importlib.util.find_spec(name)
        places = [] if spec is None else [*(spec.submodule_search_locations or ()), spec.origin]
    else:
        places = [*getattr(module, "__path__", ()), getattr(module, "__file__", None)]
    return [each for each in places if isinstance(each, str)]


def make_importable(root: Path) -> None:
    """Let modules be found from a folder: first, as where Python runs a file that stands there."""
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))
    importlib.invalidate_caches()  # a file may be younger than the last look into its folder


def _clash(name: str, path: Path, prefix: str, found: Sequence[str]) -> str:
    state = "is loaded" if prefix in sys.modules else "is installed"
    other = found[-1] if found else "nowhere"
    return (
        f"{path} can't be imported as {name!r}: another module {prefix!r} {state}, {other}; rename one of "
        "them, or move yours into a package of its own and name it in pyproject.toml, as "
        '[tool.resqpy] tasks = ["myapp.tasks"]'
    )


def _module_of(path: Path) -> ModuleType | None:
    """The module that runs, or ran, a file."""
    tail = str(Path(*path.parts[-2:]))
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__dict__", {}).get("__file__")
        if not isinstance(file, str) or not file.endswith(tail) or name == "__main__":
            continue
        if os.path.realpath(file) == os.path.realpath(path):
            return module
    return None


class EntryPointObject(NamedTuple):  # `dataclasses` would be imported with `resqpy` for it alone
    """What an installed package provides by an entry point.

    Attributes:
        label: the entry point and its package, for messages.
        package: name and version.
        thing: `ImportFailed` if it can't be imported.
    """

    label: str
    package: str
    thing: Any


def import_entry_points(group: str) -> Iterable[EntryPointObject]:
    """What installed packages provide in an entry point group."""
    for entry in sorted(_metadata().entry_points(group=group), key=lambda each: each.name):
        package = f"{entry.dist.name} {entry.dist.version}"
        label = f"{entry.name} ({entry.value}) of the package {package}"
        try:
            thing = entry.load()
        except Exception as error:  # a package may raise anything while it is imported
            thing = ImportFailed(f"entry point {label} in {group!r}: {repr_of(error)}")
        yield EntryPointObject(label, package, thing)


def _metadata() -> Any:
    """Imported on first use: it costs 10 ms."""
    return importlib.import_module("importlib.metadata")


def package_version(name: str) -> str:
    """The version of an installed package."""
    return str(_metadata().version(name))


DISTRIBUTION = "resqpy-jobs"  # what pip calls this package, as in pyproject.toml


def own_version() -> str:
    """The version of resqpy that is installed."""
    return package_version(DISTRIBUTION)


def refuse_namesake(file: str) -> None:
    """Refuse to work in one folder with the package of a distribution `resqpy`: on the package index that name
    belongs to another project, about oil reservoirs, and its files and ours would overwrite each other.

    Args:
        file: `__file__` of a module directly in the package.

    Raises:
        ImportError: pip has put one there.
    """
    folder = Path(file).parent.parent
    for other in folder.glob("resqpy-*-info"):
        raise ImportError(
            f"{DISTRIBUTION} (background jobs) and resqpy {other.stem.split('-')[1]} (another project) are both "
            f"installed in {folder}, where their files overwrite each other; run `pip uninstall resqpy "
            f"{DISTRIBUTION}`, then `pip install {DISTRIBUTION}`; whoever needs both gives each an environment "
            "of its own"
        )


MISSPELLED = 0.8  # similarity above which a name is a misspelling of a known one


def near_match(name: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """`; did you mean 'x'?` for the nearest known name, or an empty text. Names in another style, such as
    `lockTimeout`, match.

    Args:
        cutoff: the similarity required, from 0 to 1.
    """
    by_letters = {_letters(each): each for each in known}
    near = difflib.get_close_matches(_letters(str(name)), list(by_letters), n=1, cutoff=cutoff)
    return f"; did you mean {by_letters[near[0]]!r}?" if near else ""


def listed(names: Iterable[str], most: int = 20) -> str:
    """What there is, for a message: `a, b and 7 more`, or `none`. The names may be foreign ones."""
    known = sorted(names)
    more = f" and {len(known) - most:,} more" if len(known) > most else ""
    return f"{', '.join(map(printable, known[:most])) or 'none'}{more}"


def _letters(name: str) -> str:
    return name.replace("_", "").replace("-", "").lower()


def misspelled(kind: type, base: type, known: Sequence[str]) -> list[str]:
    """Messages about misspelled names in a class: `has 'strat'; did you mean 'start'?`.

    A name that contains a known one (`restart`) is taken for the user's own.
    """
    own = [name for name in vars(kind) if not name.startswith("_") and not hasattr(base, name)]
    hints = [
        (name, near_match(name, known, MISSPELLED))
        for name in own
        if not any(each in name for each in known)
    ]
    return [f"has {name!r}{hint}" for name, hint in hints if hint]
