"""Where a project's code is: in the usual folders, or where `[tool.resqpy]` of its pyproject.toml says.

    [tool.resqpy]
    root = "src"                              # modules are named from here
    tasks = ["myapp.tasks", "myapp.*.tasks"]  # modules and packages with tasks

The command line asks for it on its way to the help, so nothing heavy is imported here.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resqpy.base.errors import ImportFailed, repr_of
from resqpy.base.imports import import_dotted, make_importable, near_match, places_of

if TYPE_CHECKING:
    from resqpy.framework.project.problems import Problems

FILE = "pyproject.toml"
KEYS = ("root", "tasks")
_NO_CODE = ("site-packages", "dist-packages", "tests", "test")  # folders
_PART = re.compile(r"(?:\w|\*(?!\*))+")  # of a pattern: a name, in which `*` stands for letters


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the code is.

    Attributes:
        folder: the project's.
        root: the import root: its files are named from here, and it is on the module path.
        tasks: dotted names of modules and packages with tasks, in which `*` stands for any name; None:
            `tasks/` and `modules/*/tasks`. A `tasks.py` in place of `tasks/` is named here.
        file: the one that names them; None: the caller did.
        django: it is a project of Django's with `resqpy.contrib.django`.
    """

    folder: Path
    root: Path
    tasks: tuple[str, ...] | None = None
    file: Path | None = None
    django: bool = False

    @classmethod
    def of(cls, folder: Path, problems: Problems, tasks: Sequence[str] | None = None) -> Layout:
        """That of a project's folder; it is made importable.

        Args:
            problems: where to note what is wrong with the table.
            tasks: instead of the table's.
        """
        root, named = folder, None if tasks is None else tuple(tasks)
        try:
            table = table_of(folder)
        except (OSError, ValueError) as error:
            problems.add(f"can't be read: {error}", folder / FILE)
            table = None
        if table is not None:
            root = _root_of(table, folder, problems)
            named = _tasks_of(table, folder, problems) if named is None else named
        if named is None and has_task_file(root):
            named = ("tasks", "modules.*.tasks") if (root / "modules").is_dir() else ("tasks",)
        file = folder / FILE if tasks is None else None
        wrong = {each: words for each in named or () if (words := _wrong_pattern(each))}
        for pattern, words in wrong.items():
            problems.add(f"tasks: {pattern!r} {words}", file)
        right = None if named is None else tuple(each for each in named if each not in wrong)
        make_importable(root)
        return _with_django(cls(folder, root, right, file), problems)

    def named(self, pattern: str) -> dict[str, Path]:
        """The modules and packages that a pattern names, by name: files and folders, of the project and of
        what is installed.
        """
        found: dict[str, Path] = {}
        for base in self._bases(pattern.partition(".")[0]):
            for path in sorted(_matches(base, pattern.replace(".", "/"))):
                parts = path.relative_to(base).with_suffix("").parts
                if all(each.isidentifier() and each != "__pycache__" for each in parts):
                    found.setdefault(".".join(parts), path.resolve())
        return found

    def nothing_named(self, pattern: str) -> str:
        """Explain that nothing matches this pattern."""
        parts = pattern.split(".")
        for count in range(len(parts) - 1, -1, -1):
            if beside := self.named(".".join((*parts[:count], "*"))):
                hint = near_match(".".join(parts[: count + 1]), beside)
                break
        else:
            hint = ""
        return f"tasks: there is no module {pattern!r} in {self.root}{hint}"

    def remedy(self, module: str) -> str:
        """What a person is told to do about a task in a module that no pattern names."""
        if self.tasks is not None and self.file is None:
            return f"add {module!r} to the modules that are named (--app)"
        usual = ["tasks", *["modules.*.tasks"] * (self.root / "modules").is_dir()]
        named = ", ".join(f'"{each}"' for each in (*(self.tasks or usual), module))
        return f"name that module in {FILE}: [tool.resqpy] tasks = [{named}]"

    def has_code(self, path: Path, modules: Container[str]) -> bool:
        """Whether a file belongs to the project's code: it is neither a test nor installed, nor of another
        module than these.
        """
        if not path.is_relative_to(self.root):
            return False
        *folders, name = path.relative_to(self.root).parts or ("",)
        return not (
            any(each.startswith(".") or each in _NO_CODE for each in folders)
            or (folders[:1] == ["modules"] and folders[1:] and folders[1] not in modules)
            or name == "conftest.py"
            or name.startswith("test_")
            or name.endswith("_test.py")
        )

    def _bases(self, first: str) -> Iterator[Path]:
        """The folders in which a pattern may begin."""
        yield self.root
        for place in () if "*" in first else places_of(first):
            folder = Path(place)
            yield folder.parent.parent if folder.stem == "__init__" else folder.parent


_BRIDGE = "resqpy.contrib.django.apps"


def _with_django(layout: Layout, problems: Problems) -> Layout:
    """Where Django's settings are named, or made already, Django is set up before a file of tasks is imported;
    the tasks of its apps are the project's.
    """
    made = getattr(sys.modules.get("django.conf"), "settings", None)
    if not os.environ.get("DJANGO_SETTINGS_MODULE") and not getattr(made, "configured", False):
        return layout
    try:
        import_dotted("django:setup")
    except ImportFailed:
        problems.warn("DJANGO_SETTINGS_MODULE is set, but Django is not installed here")
        return layout
    try:
        if not import_dotted(f"{_BRIDGE}:set_up")(layout.root):
            return layout
        modules = import_dotted(f"{_BRIDGE}:task_modules")()
    except Exception as error:  # the settings, and all apps, are the user's code
        problems.add(f"Django can't be set up: {repr_of(error)}")
        return layout
    named = tuple(dict.fromkeys((*(layout.tasks or ()), *modules)))
    return replace(layout, tasks=named, django=True)


def _matches(base: Path, path: str) -> Iterator[Path]:
    """Packages and modules; of a package and a module of one name, the one that Python takes."""
    files = {each.with_suffix(""): each for each in base.glob(f"{path}.py") if each.is_file()}
    for folder in (each for each in base.glob(path) if each.is_dir()):
        if folder not in files or _is_package(folder):
            files[folder] = folder
    yield from files.values()


def _is_package(folder: Path) -> bool:
    return (folder / "__init__.py").is_file()


# -- the table --


def table_of(folder: Path) -> Any:
    """What `[tool.resqpy]` of a folder's pyproject.toml says; None: there is none.

    Raises:
        OSError, ValueError: the file can't be read, or is no TOML.
    """
    try:
        raw = (folder / FILE).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    if b"resqpy" not in raw:  # also where it is broken: that is somebody else's business
        return None
    table = import_dotted("tomllib:loads")(raw.decode())  # imported where it is needed: 3 ms
    return table.get("tool", {}).get("resqpy")


def has_task_file(folder: Path) -> bool:
    """Whether it has a `tasks.py` that names us (others have such files, too), and no `tasks/`."""
    try:
        ours = "resqpy" in (folder / "tasks.py").read_text("utf-8")
    except (OSError, ValueError):
        return False
    return ours and not (folder / "tasks").is_dir()


def has_table(folder: Path) -> bool:
    """Whether it has one, or has a file that may have one and can't be read."""
    try:
        return table_of(folder) is not None
    except (OSError, ValueError):
        return True


def _root_of(table: Any, folder: Path, problems: Problems) -> Path:
    file = folder / FILE
    if not isinstance(table, Mapping):
        problems.add(f"tool.resqpy is {table!r}, not a table", file)
        return folder
    for key in table:
        if key not in KEYS:
            known = ", ".join(KEYS)
            words = f"[tool.resqpy] has no key {key!r}{near_match(key, KEYS)} (keys: {known})"
            problems.add(words, file, _line_of(file, key))
    given = table.get("root", ".")
    if not isinstance(given, str):
        problems.add(f"root is {given!r}, not a folder's name", file, _line_of(file, "root"))
        return folder
    root = (folder / given).resolve()
    if not root.is_dir():
        problems.add(f"root: there is no folder {given!r} here", file, _line_of(file, "root"))
        return folder
    return root


def _tasks_of(table: Any, folder: Path, problems: Problems) -> tuple[str, ...] | None:
    given = table.get("tasks") if isinstance(table, Mapping) else None
    if given is None:
        return None
    if not isinstance(given, list) or not all(isinstance(each, str) for each in given):
        file = folder / FILE
        words = f'tasks is {given!r}, not a list of modules, as ["myapp.tasks"]'
        problems.add(words, file, _line_of(file, "tasks"))
        return None
    return tuple(given)


def _wrong_pattern(pattern: str) -> str:
    """What is wrong with a pattern; an empty text if nothing is."""
    parts = pattern.split(".")
    if all(each == "**" or _PART.fullmatch(each) for each in parts):
        inside = "**" not in (parts[0], parts[-1])
        return "" if inside else "begins or ends with **; name a package, and modules in it"
    dotted = pattern.removesuffix(".py").strip("./").replace("/", ".")
    return f"is no dotted name of a module{near_match(pattern, [dotted])}"


def _line_of(file: Path, key: str) -> int | None:
    """The line of a key in the table, where it is written in the usual way."""
    lines = file.read_text(encoding="utf-8").splitlines()
    begin = next((n for n, each in enumerate(lines, 1) if each.strip() == "[tool.resqpy]"), None)
    if begin is None:
        return None
    own = re.compile(rf'\s*"?{re.escape(key)}"?\s*=')
    return next((n for n, each in enumerate(lines, 1) if n > begin and own.match(each)), None)
