"""The project's own source, for the tests of the house."""

from __future__ import annotations

import ast
import re
import subprocess
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "resqpy"


def python_files(*folders: str) -> list[Path]:
    """Return the Python files below the folders of the project that exist."""
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


@cache
def tree(path: Path) -> ast.Module:
    """Parse a file, once for all tests."""
    return ast.parse(path.read_text(), filename=str(path))


def name(path: Path) -> str:
    """Return a path below the project, without the package: `engine/worker/pool.py`, `tasks/mail.py`."""
    relative = path.relative_to(ROOT)
    return str(relative.relative_to("resqpy") if relative.parts[0] == "resqpy" else relative)


def without_comments(script: Path) -> str:
    """Return a Lua script's code."""
    return re.sub(r"--.*", "", script.read_text())


def docstring(node: ast.AST) -> ast.Constant | None:
    """Return the docstring's node of a module, class or function."""
    match node:
        case (
            ast.Module(body=[first, *_])
            | ast.ClassDef(body=[first, *_])
            | ast.FunctionDef(body=[first, *_])
            | ast.AsyncFunctionDef(body=[first, *_])
        ):
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                return first.value if isinstance(first.value.value, str) else None
    return None


def tracked_files() -> list[Path]:
    """Return the files that git tracks and that exist."""
    listed = subprocess.check_output(["git", "ls-files", "-z"], cwd=ROOT, text=True)
    return [path for line in listed.split("\0") if line and (path := ROOT / line).is_file()]
