"""Compiles type hints: what `run(self, when: datetime, items: list[Item])` declares.

Each hint of a task is compiled once, when the project is loaded. A hint of JSON's own types has a plain reader,
which only checks; the inputs of such a task are never converted.
"""

from __future__ import annotations

import inspect
import sys
import types
import typing
from collections.abc import (
    Callable,
    Iterable,
    Mapping,
    MutableMapping,
    MutableSequence,
    Sequence,
    Set as AbstractSet,
)
from dataclasses import MISSING, fields, is_dataclass, replace
from enum import Enum
from functools import partial
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin

from resqpy.base import json_forms as forms
from resqpy.base.errors import UsageError, class_of, message_of
from resqpy.base.imports import near_match
from resqpy.base.json_rules import plain as is_json
from resqpy.framework.tasks.readers import (
    ANY,
    INT_KEY,
    NESTED_ANY,
    NONE,
    PLAIN,
    TEXTS,
    Defs,
    Fault,
    Mismatch,
    Reader,
    Schema,
    bounded,
    enum_reader,
    literal_reader,
    msgspec_reader,
    own_reader,
    pydantic_reader,
    wrong,
)

_LISTS = (list, Sequence, MutableSequence, Iterable)
_SETS = (set, frozenset, AbstractSet)
_DICTS = (dict, Mapping, MutableMapping)


def reader_of(hint: Any) -> Reader:
    """The reader of a hint.

    Raises:
        UsageError: JSON has no such values, or an annotation of a class can't be read.
    """
    reader = _Compiler(ANY).of(hint)
    if reader.plain:
        return reader
    # a value of an unknown type would be written as if it were known, and arrive as something else
    compiler = _Compiler(NESTED_ANY)
    reader = compiler.of(hint)
    return replace(reader, constructs=True) if compiler.constructs else reader


def name_of(hint: Any) -> str:
    """A hint for people: `str`, `list[int] | None`, `'fast' or 'slow'`."""
    if get_origin(hint) is Literal:
        return " or ".join(map(repr, get_args(hint)))
    if get_origin(hint) is typing.Annotated:
        return name_of(get_args(hint)[0])
    named = isinstance(hint, type) and not get_args(hint)
    return hint.__name__ if named else str(hint).replace("typing.", "")


# -- records --


class _Record(NamedTuple):
    """A class with fields.

    Attributes:
        hints: by the names in JSON.
        required: the names without a default.
        make: called with the fields by name.
        fields_of: the fields of a value of the class; None: it is none.
        strict: unknown names are refused.
    """

    hints: dict[str, Any]
    required: frozenset[str]
    make: Callable[..., Any]
    fields_of: Callable[[Any], Mapping[str, Any] | None]
    strict: bool = True


def _record_of(kind: Any) -> _Record | None:
    if isinstance(kind, type) and issubclass(kind, dict) and hasattr(kind, "__required_keys__"):
        return _typed_dict(kind)
    names = forms.field_names(kind)
    if names is None:
        return None
    known = _hints_of(kind)
    hints = {name: known.get(attribute, Any) for name, attribute in names.items()}

    def fields_of(value: Any) -> Mapping[str, Any] | None:
        if type(value) is kind:
            return {name: getattr(value, attribute) for name, attribute in names.items()}
        if issubclass(kind, tuple) and isinstance(value, list | tuple) and len(value) <= len(names):
            return dict(zip(names, value, strict=False))
        return None

    return _Record(hints, frozenset(names) - _with_defaults(kind), kind, fields_of)


def _with_defaults(kind: Any) -> frozenset[str]:
    """The fields that have a default."""
    if hasattr(kind, "__attrs_attrs__"):
        nothing = sys.modules["attr"].NOTHING
        return frozenset(each.alias for each in kind.__attrs_attrs__ if each.default is not nothing)
    if is_dataclass(kind):
        _refuse_init_vars(kind)
        return frozenset(
            each.name
            for each in fields(kind)
            if each.default is not MISSING or each.default_factory is not MISSING
        )
    return frozenset(kind._field_defaults)


def _refuse_init_vars(kind: Any) -> None:
    known = {each.name for each in fields(kind)}
    for name, each in inspect.signature(kind).parameters.items():
        if name not in known:
            raise UsageError(
                f"is the dataclass {kind.__name__}, whose {each.name!r} no value of it keeps (an InitVar, or a "
                "parameter of an __init__ of its own), so it can't be written; call resqpy.converter"
            )


def _typed_dict(kind: Any) -> _Record:
    hints, required = {}, set(kind.__required_keys__)
    for name, hint in _hints_of(kind).items():
        hints[name], words = _unqualified(hint)
        if "Required" in words:  # `__required_keys__` does not know it where annotations are texts
            required.add(name)
        if "NotRequired" in words:
            required.discard(name)
    return _Record(hints, frozenset(required), dict, lambda _: None, strict=False)


def _unqualified(hint: Any) -> tuple[Any, set[str]]:
    """What stands in `NotRequired[…]` and its like, and which they are."""
    words = set()
    while (word := getattr(get_origin(hint), "_name", None)) in _QUALIFIERS:
        words.add(word)
        hint = get_args(hint)[0]
    return hint, words


_QUALIFIERS = ("Required", "NotRequired", "ReadOnly")


def _hints_of(kind: Any) -> dict[str, Any]:
    """The annotations of a class and its bases.

    Raises:
        UsageError: one can't be read; it tells which, in which file, and what to do.
    """
    parameters = {each.__name__: each for each in getattr(kind, "__type_params__", ())}
    # Python 3.12 doesn't know them where annotations are texts
    names = {**vars(kind), **parameters} if parameters else None
    try:
        return typing.get_type_hints(kind, None, names, include_extras=True)
    except Exception as error:  # an annotation may be any expression
        file = getattr(sys.modules.get(kind.__module__), "__file__", None) or kind.__module__
        raise UsageError(
            f"can't be converted: {unreadable(_annotation(kind, error), error)} ({file})"
        ) from error


def _annotation(kind: type, error: Exception) -> str:
    """The annotation that can't be read, as far as that can be told."""
    missing = getattr(error, "name", None) or "\0"
    for each in kind.__mro__:
        for name, hint in vars(each).get("__annotations__", {}).items():
            text = getattr(hint, "__forward_arg__", hint)
            if isinstance(text, str) and missing in text:
                return f"the annotation {text!r} of {each.__qualname__}.{name}"
    return f"an annotation of {kind.__qualname__}"


def unreadable(what: str, error: Exception) -> str:
    """Why an annotation can't be read, and what to do."""
    words = f"{what} can't be read: {error}"
    if not isinstance(error, NameError):
        return words
    return (
        f"{words}; make it a name of the module at run time: import it outside `if TYPE_CHECKING:`, and define it "
        "outside functions"
    )


# -- the compiler --


class _Compiler:
    """Compiles one hint. Classes and aliases may contain themselves.

    Args:
        any_: the reader of `Any`.

    Attributes:
        constructs: as `Reader.constructs`, of what was compiled.
    """

    def __init__(self, any_: Reader) -> None:
        self._any = any_
        self.constructs: bool = False
        self._made: dict[Any, Reader] = {}

    def of(self, hint: Any) -> Reader:
        """The reader of a hint."""
        kind = get_origin(hint) or hint
        if isinstance(kind, type) and (own := forms.own_form(kind)) is not None:
            return own_reader(kind, own)
        if isinstance(hint, typing.TypeVar):
            return self._any if hint.__bound__ is None else self.of(hint.__bound__)
        if isinstance(hint, typing.NewType):
            return self.of(hint.__supertype__)
        if type(kind).__name__ == "TypeAliasType":  # typing's, or that of typing_extensions
            return self._once(hint, kind, lambda: self.of(_given(kind, hint, _value_of(kind))))
        if kind is typing.Annotated:
            return self._annotated(hint)
        if kind in {Any, object}:
            return self._any
        if kind in TEXTS or kind in PLAIN:
            return TEXTS.get(kind) or PLAIN[kind]
        return self._of_class(hint, kind) or self._of_generic(hint, kind, get_args(hint))

    def _once(self, hint: Any, kind: Any, make: Callable[[], Reader]) -> Reader:
        """The reader of a class or an alias, which may contain itself."""
        if hint not in self._made:
            self._made[hint] = Reader(
                lambda value: made.read(value),  # noqa: PLW0108 - `made` is there when a value comes
                lambda defs: _reference(hint, kind, made, defs),
            )
            made = make()
            schema = self._made[hint].schema
            self._made[hint] = Reader(made.read, schema, made.plain)
        return self._made[hint]

    def _annotated(self, hint: Any) -> Reader:
        inner, *metadata = get_args(hint)
        libraries = {type(each).__module__.partition(".")[0] for each in metadata}
        if "pydantic" in libraries:
            return pydantic_reader(hint)
        if "msgspec" in libraries:
            return msgspec_reader(hint)
        return bounded(self.of(inner), metadata)

    def _of_class(self, hint: Any, kind: Any) -> Reader | None:
        if not isinstance(kind, type):
            return None
        if forms.is_pydantic(kind):
            return pydantic_reader(hint)
        if forms.is_msgspec(kind):
            return msgspec_reader(hint)
        if issubclass(kind, Enum):
            return enum_reader(kind)
        if (record := _record_of(kind)) is not None:
            return self._once(hint, kind, lambda: self._record(hint, kind, record))
        return None

    def _of_generic(self, hint: Any, kind: Any, arguments: tuple[Any, ...]) -> Reader:
        if kind in {Union, types.UnionType}:
            return self._union(arguments, name_of(hint))
        if kind is Literal:
            return literal_reader(arguments, name_of(hint))
        if kind is tuple and (arguments or hint == tuple[()]) and Ellipsis not in arguments:
            return self._fixed_tuple(arguments, name_of(hint))
        if kind in _LISTS or kind is tuple or kind in _SETS:
            return self._many(
                kind, self.of(arguments[0]) if arguments else self._any, name_of(hint)
            )
        if kind in _DICTS:
            return self._dict(arguments, name_of(hint))
        raise UsageError(
            f"is a {name_of(hint)}, which JSON can't represent; declare a type that resqpy can write (JSON's own, "
            "datetime, date, time, timedelta, UUID, Decimal, an enum, a dataclass, a NamedTuple, a TypedDict, a "
            "set), call resqpy.converter for it, or give the input a formatter; a session or a client is a "
            "resource: resqpy.resource"
        )

    def _many(self, kind: Any, item: Reader, words: str) -> Reader:
        allowed = (list, tuple, AbstractSet) if kind in _SETS else (list, tuple)
        make = {tuple: tuple, frozenset: frozenset, set: set, AbstractSet: set}.get(kind)
        plain, read_item = item.plain and make is None, item.read

        def read(value: Any) -> Any:
            if not isinstance(value, allowed):
                raise wrong(f"must be {words}", value)
            made: list[Any] = []
            for each in value:
                try:
                    made.append(read_item(each))
                except Mismatch as error:
                    raise error.inside(len(made)) from None
            if make is None:
                return value if plain else made
            try:
                return make(made)
            except TypeError as error:
                raise wrong(f"must be {words}: {error}", value) from error

        def schema(defs: Defs) -> Schema:
            unique = {"uniqueItems": True} if kind in _SETS else {}
            return {"type": "array", "items": item.schema(defs), **unique}

        return Reader(read, schema, plain)

    def _fixed_tuple(self, arguments: tuple[Any, ...], words: str) -> Reader:
        items = [self.of(each) for each in arguments]

        def read(value: Any) -> Any:
            if not isinstance(value, list | tuple) or len(value) != len(items):
                raise wrong(f"must be {words}", value)
            made: list[Any] = []
            for each, item in zip(value, items, strict=True):
                try:
                    made.append(item.read(each))
                except Mismatch as error:
                    raise error.inside(len(made)) from None
            return tuple(made)

        def schema(defs: Defs) -> Schema:
            each = [item.schema(defs) for item in items]
            return {"type": "array", "prefixItems": each, "minItems": len(each), "items": False}

        return Reader(read, schema)

    def _dict(self, arguments: tuple[Any, ...], words: str) -> Reader:
        key = self._key(arguments[0]) if arguments else PLAIN[str]
        inner = self.of(arguments[1]) if len(arguments) > 1 else self._any
        plain, read_inner = key.plain and inner.plain, inner.read

        def read(value: Any) -> Any:
            if not isinstance(value, Mapping):
                raise wrong(f"must be {words}", value)
            made = {}
            for name, each in value.items():
                try:
                    made_name = name if plain else key.read(name)
                    if made_name in made:
                        raise wrong("is there twice, written in two ways")
                    made[made_name] = read_inner(each)
                except Mismatch as error:
                    raise error.inside(str(name)) from None
            return value if plain else made

        def schema(defs: Defs) -> Schema:
            return {"type": "object", "additionalProperties": inner.schema(defs)}

        return Reader(read, schema, plain)

    def _key(self, hint: Any) -> Reader:
        """The reader of an object's keys, which are texts."""
        if hint is int:
            return INT_KEY
        reader = self.of(hint)
        if not _is_text(reader.schema({})):
            raise UsageError(
                f"has keys of {name_of(hint)}, but JSON has only text keys; declare str, int, or a type that is a "
                "text in JSON"
            )
        return reader

    def _union(self, arguments: tuple[Any, ...], words: str) -> Reader:
        members = [self.of(each) for each in arguments]
        plain = all(each.plain for each in members)
        members.sort(key=lambda each: each.plain)  # a text that is a date is one, not a text
        texts = [id(each) for each in TEXTS.values()]
        of_numbers = sorted(members, key=lambda each: id(each) in texts)  # 5 is an int, not 5 ms
        single = [each for each in members if each is not NONE]

        def read(value: Any) -> Any:
            found: list[Fault] = []
            for member in of_numbers if isinstance(value, int | float) else members:
                try:
                    made = member.read(value)
                except Mismatch as error:
                    found += error.faults
                else:
                    if not plain and len(single) > 1:
                        _refuse_ambiguous(read, value, made)
                    return made
            deep = [each for each in found if each.path] or (found if len(single) == 1 else [])
            if deep:
                raise Mismatch(*(each for each in deep if each.words != "must be None"))
            raise wrong(f"must be {words}", value)

        def schema(defs: Defs) -> Schema:
            return {"anyOf": [each.schema(defs) for each in members]}

        return Reader(read, schema, plain)

    def _record(self, hint: Any, kind: Any, record: _Record) -> Reader:
        readers = {n: self.of(_given(kind, hint, each)) for n, each in record.hints.items()}
        plain = not record.strict and all(each.plain for each in readers.values())
        self.constructs |= record.strict and not issubclass(kind, tuple)

        def read(value: Any) -> Any:
            given = record.fields_of(value)
            if given is None and isinstance(value, Mapping):
                given = value
            if given is None:
                raise wrong(f"must be {name_of(hint)}", value)
            made, faults = _read_fields(record, readers, given, self._any)
            if faults:
                raise Mismatch(*faults)
            if plain:
                return value
            try:
                return record.make(**made) if record.strict else made
            except (
                Exception
            ) as error:  # users' constructors may raise anything: it means "not valid"
                words = f"is not a valid {kind.__name__}: {message_of(error) or class_of(error)}"
                raise wrong(words, value) from error

        return Reader(read, partial(_record_schema, record, readers), plain)


def _read_fields(
    record: _Record, readers: Mapping[str, Reader], given: Mapping[str, Any], other: Reader
) -> tuple[dict[str, Any], list[Fault]]:
    made = dict(given)
    missing = sorted(record.required - given.keys())
    faults = [Fault((name,), "is required") for name in missing]
    for name, value in given.items():
        if record.strict and name not in readers:
            faults.append(Fault((str(name),), f"is unknown{near_match(str(name), readers)}"))
            continue
        try:
            made[name] = readers.get(name, other).read(value)
        except Mismatch as error:
            faults += error.inside(name).faults
    return made, faults


def _record_schema(record: _Record, readers: Mapping[str, Reader], defs: Defs) -> Schema:
    return {
        "type": "object",
        "properties": {each: reader.schema(defs) for each, reader in readers.items()},
        "required": [each for each in readers if each in record.required],
        "additionalProperties": not record.strict,
    }


def _reference(hint: Any, kind: Any, reader: Reader, defs: Defs) -> Schema:
    """A reference to the schema of a class or an alias, which is added to `defs`."""
    title, name = f"{kind.__module__}.{name_of(hint)}", kind.__name__
    while name in defs and defs[name].get("title") != title:  # another class of that name
        name += "_"
    if name not in defs:
        defs[name] = {"title": title}
        defs[name].update(reader.schema(defs))
    return {"$ref": f"#/$defs/{name}"}


def _value_of(alias: Any) -> Any:
    """What an alias stands for; that of typing_extensions may be a text."""
    stub = types.SimpleNamespace(__annotations__={"value": alias.__value__})
    names = vars(sys.modules.get(alias.__module__, types))
    try:
        return typing.get_type_hints(stub, names, include_extras=True)["value"]
    except Exception as error:  # it may be any expression
        words = unreadable(f"the alias {alias.__name__}", error)
        raise UsageError(f"can't be converted: {words}") from error


def _given(kind: Any, hint: Any, inner: Any) -> Any:
    """The hint of a field of `Page[int]`, where the class has it as `T`."""
    parameters = getattr(kind, "__type_params__", ()) or getattr(kind, "__parameters__", ())
    known = dict(zip(parameters, get_args(hint), strict=False))
    if isinstance(inner, typing.TypeVar):
        return known.get(inner, inner)
    open_ = getattr(inner, "__parameters__", ())
    return inner[tuple(known.get(each, Any) for each in open_)] if open_ and known else inner


def _is_text(schema: Schema) -> bool:
    if "enum" in schema:
        return all(isinstance(each, str) for each in schema["enum"])
    return bool(schema.get("type", "string") == "string")


def _refuse_ambiguous(read: Callable[[Any], Any], value: Any, made: Any) -> None:
    """A value of one member of a union must not come back as another."""
    if is_json(value) or type(made) is not type(value):
        return
    back = read(forms.to_json(made))
    if type(back) is not type(made):
        raise wrong(
            f"is a {type(made).__name__} that would arrive as a {type(back).__name__}: the union's members look "
            "alike in JSON",
            value,
        )
