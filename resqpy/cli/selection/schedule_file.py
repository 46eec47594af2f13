"""Reads resque-scheduler's `resque_schedule.yml`, also as JSON."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from resqpy.base.errors import UsageError, told
from resqpy.base.imports import near_match
from resqpy.base.json_rules import named_twice, read_strict

_TIMES = ("cron", "every")
_ENTRY = {*_TIMES, "class", "custom_job_class", "queue", "args", "description"}


def read_schedules(text: str, section: str | None = None) -> dict[str, dict[str, Any]]:
    """The schedules in a file, by name.

    Args:
        section: of a file with a section for each environment, which one.

    Raises:
        UsageError: it is no such file; what to do.
    """
    found = mapping(read_yaml(text), "the file")
    sections = [name for name, each in found.items() if _is_section(each)]
    if section is not None:
        if section not in found:
            raise UsageError(f"there is no section {section!r}{near_match(section, found)}")
        found = mapping(found[section], f"the section {section!r}")
    elif sections:
        named = ", ".join(map(str, sections))
        raise UsageError(
            f"the file has a section for each environment: choose one by --section ({named})"
        )
    return {name: dict(mapping(each, f"schedule {name!r}")) for name, each in found.items()}


def read_yaml(text: str) -> Any:
    """What is in a file of an application of Ruby's.

    Raises:
        UsageError: it is no plain YAML, or says something twice.
    """
    try:
        found = read_strict(text.encode())  # JSON, which needs no library
    except ValueError:
        return _from_yaml(text)
    if (name := named_twice(text)) is not None:
        raise UsageError(f"{name!r} stands twice in the file")
    return found


def _from_yaml(text: str) -> Any:
    if "<%" in text:
        raise UsageError(
            "the file is an ERB template: write it out first, in the application: "
            "ruby -rerb -e 'puts ERB.new(STDIN.read).result' < FILE > OUT"
        )
    try:
        import yaml  # type: ignore[import-untyped]  # an extra without types
    except ImportError as error:
        raise UsageError("to read YAML, install PyYAML: pip install 'resqpy[yaml]'") from error
    try:
        loader = _with_symbols(yaml)
        _refuse_twice(yaml, yaml.compose(text, Loader=loader))
        return yaml.load(text, Loader=loader)  # noqa: S506 - it is a SafeLoader
    except yaml.YAMLError as error:  # also a tag of Ruby, such as !ruby/regexp
        raise UsageError(f"the file is no plain YAML: {error}") from error
    except (
        Exception
    ) as error:  # its constructors raise what they like: for 2001-99-99, 5,000 digits, [[[…
        raise UsageError(f"the file has a value that can't be read: {told(error)}") from error


def _with_symbols(yaml: Any) -> Any:
    """A safe loader that takes `:first_in`, a symbol to Ruby, for the text that Ruby's JSON makes of it."""

    def text_of(loader: Any, node: Any) -> str:
        return str(loader.construct_scalar(node)[1:].strip("\"'"))

    loader: Any = type("SymbolLoader", (yaml.SafeLoader,), {})
    loader.add_implicit_resolver("!symbol", re.compile(":."), [":"])
    loader.add_constructor("!symbol", text_of)
    return loader


def _refuse_twice(yaml: Any, root: Any) -> None:
    left, seen = [root], {id(None)}
    while left:
        if id(node := left.pop()) in seen:
            continue
        seen.add(id(node))
        if not isinstance(node, yaml.MappingNode):
            left += node.value if isinstance(node, yaml.SequenceNode) else []
            continue
        left += [each for _, each in node.value]
        names = [key for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        lines: dict[str, int] = {}
        for key in names:
            line = key.start_mark.line + 1
            if key.value in lines and key.value != "<<":
                raise UsageError(
                    f"{key.value!r} stands twice in the file, in the lines {lines[key.value]} and {line}"
                )
            lines[key.value] = line


def mapping(value: Any, what: str) -> Mapping[str, Any]:
    """A part of it that has names; nothing is an empty one.

    Raises:
        UsageError: it is something else.
    """
    value = {} if value is None else value
    if not isinstance(value, dict) or not all(isinstance(each, str) for each in value):
        raise UsageError(f"{what} is not a mapping with names")
    return value


def _is_section(value: Any) -> bool:
    """Whether it holds schedules, and is none itself."""
    if not isinstance(value, dict) or not value or _ENTRY & value.keys():
        return False
    return all(
        isinstance(each, dict) and any(time in each for time in _TIMES) for each in value.values()
    )
