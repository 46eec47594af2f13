"""Merging concurrent saves of one payload: the difference of two JSON values, applied to a third. Pure.

The idea is irontask's (a JSON merge patch, RFC 7396), but None remains a value: a patch lists separately
what is set, removed and changed inside.
"""

from __future__ import annotations

import copy
from typing import Any

Patch = dict[str, Any]

_SET, _REMOVED, _INSIDE, _WHOLE = "set", "removed", "inside", "whole"


def difference(before: Any, after: Any) -> Patch:
    """The patch from `before` to `after`; empty if they are equal."""
    if not isinstance(before, dict) or not isinstance(after, dict):
        return {} if _same(before, after) else {_WHOLE: copy.deepcopy(after)}
    patch: Patch = {}
    if removed := [name for name in before if name not in after]:
        patch[_REMOVED] = removed
    for name, value in after.items():
        _compare(patch, name, before, value)
    return patch


def _compare(patch: Patch, name: str, before: dict[str, Any], value: Any) -> None:
    if name in before and isinstance(before[name], dict) and isinstance(value, dict):
        if inside := difference(before[name], value):
            patch.setdefault(_INSIDE, {})[name] = inside
    elif name not in before or not _same(before[name], value):
        patch.setdefault(_SET, {})[name] = copy.deepcopy(value)


def _same(one: Any, other: Any) -> bool:
    """Whether they are equal in JSON, where True differs from 1 and 1.0 from 1."""
    if type(one) is not type(other):
        return False
    if isinstance(one, list):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same(one[name], other[name]) for name in one)
    return bool(one == other)


def merged(target: Any, patch: Patch) -> Any:
    """`target` with the patch applied; neither is changed."""
    if _WHOLE in patch:
        return copy.deepcopy(patch[_WHOLE])
    if not patch:
        return target
    result = dict(target) if isinstance(target, dict) else {}
    for name in patch.get(_REMOVED, ()):
        result.pop(name, None)
    result.update(copy.deepcopy(patch.get(_SET, {})))
    for name, inside in patch.get(_INSIDE, {}).items():
        result[name] = merged(result.get(name), inside)
    return result
