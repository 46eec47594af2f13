"""The part of JSON Schema that the API's parameters and bodies use: checks by it, with the nearest names. Pure.

The same schemas stand in the OpenAPI document, so what it says is what is checked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from resqpy.base.imports import near_match
from resqpy.web.asking import moment

Schema = Mapping[str, Any]
_TYPES: dict[str, type | tuple[type, ...]] = {
    "string": str, "integer": int, "number": (int, float), "boolean": bool, "object": dict,
    "array": list, "null": type(None),
}  # fmt: skip
_SHOWN = 80  # characters of a wrong value


@dataclass(frozen=True, slots=True)
class RequestFault:
    """What is wrong with a part of a request.

    Attributes:
        pointer: where: a JSON pointer into the body, or the name of a parameter.
        near: the name that was probably meant.
    """

    pointer: str
    detail: str
    near: str = ""

    def as_json(self) -> dict[str, str]:
        """For a problem's `errors`."""
        shown = {"pointer": self.pointer, "detail": self.detail}
        return {**shown, "near": self.near} if self.near else shown


def nearest(name: str, known: Iterator[str] | list[str] | tuple[str, ...]) -> str:
    """The known name that was probably meant; "": none."""
    found = re.search(r"'(.*)'", near_match(name, list(known)), re.DOTALL)
    return found[1] if found else ""


def faults(value: Any, schema: Schema, pointer: str = "") -> Iterator[RequestFault]:
    """All that is wrong with a value."""
    if "oneOf" in schema:
        fitting = [each for each in schema["oneOf"] if _is_of(value, each)]
        if fitting:
            yield from faults(value, fitting[0], pointer)
        else:
            types = " or ".join(_type_words(each) for each in schema["oneOf"])
            yield RequestFault(pointer, f"{shown(value)} is not {types}")
    elif not _is_of(value, schema):
        yield RequestFault(pointer, f"{shown(value)} is not {_type_words(schema)}")
    elif "enum" in schema and value not in schema["enum"]:
        names = ", ".join(map(str, schema["enum"]))
        near = nearest(str(value), [str(each) for each in schema["enum"]])
        yield RequestFault(pointer, f"{shown(value)} is none of {names}", near)
    elif isinstance(value, dict):
        yield from _of_object(value, schema, pointer)
    elif isinstance(value, list):
        yield from _of_array(value, schema, pointer)
    elif isinstance(value, str):
        yield from _of_text(value, schema, pointer)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield from _of_number(value, schema, pointer)


def _is_of(value: Any, schema: Schema) -> bool:
    kinds = schema.get("type")
    if kinds is None:
        return True
    if isinstance(value, bool):
        return "boolean" in kinds if isinstance(kinds, list) else kinds == "boolean"
    named = [kinds] if isinstance(kinds, str) else kinds
    if isinstance(value, float) and value.is_integer() and "integer" in named:
        return True  # 2.0 is one in JSON
    return any(isinstance(value, _TYPES[kind]) for kind in named)


def with_integers(value: Any, schema: Schema) -> Any:
    """A value that fits a schema, with its integers as such: JSON may spell them 2.0."""
    match value:
        case float() if "integer" in schema.get("type", ()):
            return int(value)
        case dict():
            known: Mapping[str, Schema] = schema.get("oneOf", [schema])[0].get("properties", {})
            return {name: with_integers(each, known.get(name, {})) for name, each in value.items()}
        case list():
            lists = [each for each in schema.get("oneOf", [schema]) if "items" in each]
            items: Schema = lists[0]["items"] if lists else {}
            return [with_integers(each, items) for each in value]
    return value


def _type_words(schema: Schema) -> str:
    kinds = schema.get("type", "a value")
    named = [kinds] if isinstance(kinds, str) else kinds
    return " or ".join(
        each if each == "null" else f"{'an' if each[0] in 'aio' else 'a'} {each}" for each in named
    )


def _of_object(value: dict[str, Any], schema: Schema, pointer: str) -> Iterator[RequestFault]:
    known: Mapping[str, Schema] = schema.get("properties", {})
    for name in schema.get("required", ()):
        if name not in value:
            yield RequestFault(pointer, f"{name!r} is missing")
    for name, each in value.items():
        at = f"{pointer}/{name.replace('~', '~0').replace('/', '~1')}"
        if name in known:
            yield from faults(each, known[name], at)
        elif schema.get("additionalProperties") is False:
            near = nearest(name, list(known))
            yield RequestFault(at, f"unknown name {name!r} (there are: {', '.join(known)})", near)


def _of_array(value: list[Any], schema: Schema, pointer: str) -> Iterator[RequestFault]:
    least, most = schema.get("minItems", 0), schema.get("maxItems")
    if len(value) < least or (most is not None and len(value) > most):
        limits = f"at least {least}" if most is None else f"{least} to {most}"
        yield RequestFault(pointer, f"{len(value)} items; there must be {limits}")
        return
    if "items" in schema:
        for number, each in enumerate(value):
            yield from faults(each, schema["items"], f"{pointer}/{number}")


def _of_text(value: str, schema: Schema, pointer: str) -> Iterator[RequestFault]:
    least, most = schema.get("minLength", 0), schema.get("maxLength")
    if len(value) < least or (most is not None and len(value) > most):
        limits = f"at least {least}" if most is None else f"{least} to {most}"
        yield RequestFault(pointer, f"{len(value)} characters; there must be {limits}")
    elif "pattern" in schema and not re.search(schema["pattern"], value):
        yield RequestFault(pointer, f"{shown(value)} does not match {schema['pattern']}")
    elif schema.get("format") == "date-time" and moment(value) is None:
        yield RequestFault(
            pointer, f"{shown(value)} is not a time in RFC 3339, such as 2026-11-30T12:00:00Z"
        )


def _of_number(value: float, schema: Schema, pointer: str) -> Iterator[RequestFault]:
    least, most = schema.get("minimum"), schema.get("maximum")
    if (least is not None and value < least) or (most is not None and value > most):
        if most is None:
            limits = f"at least {least}"
        else:
            limits = f"at most {most}" if least is None else f"from {least} to {most}"
        yield RequestFault(pointer, f"{shown(value)} is out of range; it must be {limits}")


def shown(value: Any) -> str:
    """A wrong value, for a message."""
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


_INTEGER = re.compile(r"-?\d{1,16}", re.ASCII)


def from_text(text: str, schema: Schema) -> Any:
    """The value that a parameter's text stands for; the text itself where it is none of its type."""
    kind = schema.get("type")
    if kind == "integer" and _INTEGER.fullmatch(text):
        return int(text)
    if kind == "boolean" and text in ("true", "false"):
        return text == "true"
    if kind == "array":
        return text.split(",") if text else []
    return text
