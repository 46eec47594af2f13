"""The one place that turns a dotted name into the thing it names."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable
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
    except ImportError as error:
        raise ImportFailed(f"can't import {path!r}: {error}") from error
    for part in attribute.split("."):
        if not hasattr(target, part):
            hint = near_match(part, dir(target))
            raise ImportFailed(f"{module_name!r} has no {attribute!r}{hint}")
        target = getattr(target, part)
    return target


def near_match(name: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?` for the nearest known name, or an empty text."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean {near[0]!r}?" if near else ""
