"""Type hints as checks of JSON values: what `run(self, to: str, copies: int = 1)` declares."""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NotRequired, Required, Union, get_args, get_origin

from resqpy.base.errors import UsageError

Check = Callable[[Any], bool]

_PLAIN: dict[Any, Check] = {
    Any: lambda _: True,
    object: lambda _: True,
    None: lambda value: value is None,
    type(None): lambda value: value is None,
    bool: lambda value: isinstance(value, bool),
    int: lambda value: isinstance(value, int) and not isinstance(value, bool),
    float: lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    str: lambda value: isinstance(value, str),
}
_LISTS = (list, tuple, Sequence, typing.Iterable, set, frozenset)
_DICTS = (dict, Mapping, typing.MutableMapping)


def check_of(hint: Any) -> Check:
    """A function that tells whether a JSON value matches a hint.

    Raises:
        UsageError: JSON has no such values.
    """
    if isinstance(hint, typing.TypeVar) or hint in _PLAIN:
        return _PLAIN.get(hint, _PLAIN[Any])
    if isinstance(hint, typing.NewType):
        return check_of(hint.__supertype__)
    if typing.is_typeddict(hint):
        return _typed_dict_check(hint)
    return _check_of_generic(hint, get_origin(hint) or hint, get_args(hint))


def _check_of_generic(hint: Any, origin: Any, arguments: tuple[Any, ...]) -> Check:
    if origin in {Union, types.UnionType}:
        checks = [check_of(each) for each in arguments]
        return lambda value: any(check(value) for check in checks)
    if origin is Literal:
        return lambda value: any(value == each and type(value) is type(each) for each in arguments)
    if origin in {typing.Annotated, NotRequired, Required}:
        return check_of(arguments[0])
    if origin in _LISTS:
        return _list_check(origin, arguments)
    if origin in _DICTS:
        inner = check_of(arguments[1]) if len(arguments) > 1 else _PLAIN[Any]
        return lambda v: isinstance(v, Mapping) and all(inner(each) for each in v.values())
    raise UsageError(
        f"is a {name_of(hint)}, which JSON can't represent; declare a JSON type (str, int, float, bool, list, "
        "dict, None) and convert it in run, or give the input a formatter"
    )


def _list_check(origin: Any, arguments: tuple[Any, ...]) -> Check:
    if origin in {set, frozenset}:
        raise UsageError("is a set, which JSON can't represent; declare a list")
    if origin is tuple and Ellipsis not in arguments and arguments:
        checks = [check_of(each) for each in arguments]
        return lambda value: (
            isinstance(value, list | tuple)
            and len(value) == len(checks)
            and all(check(each) for check, each in zip(checks, value, strict=True))
        )
    inner = check_of(arguments[0]) if arguments else _PLAIN[Any]
    return lambda value: isinstance(value, list | tuple) and all(inner(each) for each in value)


def _typed_dict_check(hint: Any) -> Check:
    """The required keys, and the types of the declared ones; others are accepted."""
    checks = {name: check_of(each) for name, each in typing.get_type_hints(hint).items()}
    required: frozenset[str] = hint.__required_keys__

    def check(value: Any) -> bool:
        return (
            isinstance(value, Mapping)
            and required <= value.keys()
            and all(checks[name](value[name]) for name in checks.keys() & value.keys())
        )

    return check


def name_of(hint: Any) -> str:
    """A hint for people: `str`, `list[int] | None`, `'fast' or 'slow'`."""
    if get_origin(hint) is Literal:
        return " or ".join(map(repr, get_args(hint)))
    if get_origin(hint) is typing.Annotated:
        return name_of(get_args(hint)[0])
    named = isinstance(hint, type) and not get_args(hint)
    return hint.__name__ if named else str(hint).replace("typing.", "")
