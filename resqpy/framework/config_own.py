"""The project's own sections of the config: any file in `config/` that resqpy itself doesn't read.

As in ActionHero, what a function for an environment says is merged into what `default()` says, dicts in
dicts included.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from resqpy.base.imports import near_match
from resqpy.framework.config_files import Layer
from resqpy.framework.kinds import FLAG, split, wrong

Values = dict[str, Any]


class OwnSections:
    """The sections, by name.

    Attributes:
        origins: where each value came from, by path.
    """

    def __init__(self) -> None:
        self.values: dict[str, Values] = {}
        self.origins: dict[str, str] = {}

    def apply(self, layer: Layer) -> Iterator[tuple[str, str]]:
        """What a function of a config file says; yields names that it can't change, and why."""
        values = self.values.setdefault(layer.section, {})
        for name, value in layer.values.items():
            if layer.function != "default" and values and name not in values:
                hint = near_match(str(name), values)
                why = f"default() has no {name!r}, so {layer.function}() can't change it{hint}"
                yield str(name), why
            else:
                self._put(values, str(name), value, f"{layer.section}.{name}", layer.origin)

    def _put(self, values: Values, name: str, value: Any, path: str, origin: str) -> None:
        if not isinstance(value, Mapping):
            values[name], self.origins[path] = value, origin
            return
        inner = values.get(name)
        if not isinstance(inner, dict):
            inner = values[name] = {}
            self.origins[path] = origin
        for key, each in value.items():
            self._put(inner, key, each, f"{path}.{key}", origin)

    def settings(self) -> Iterator[tuple[str, Any]]:
        """All values by path; those in dicts one by one."""
        for section, values in self.values.items():
            yield from _leaves(section, values)

    def set_from_text(self, path: str, text: str, origin: str) -> None:
        """What an environment variable says, read as the kind of value that is there.

        Raises:
            UsageError: it can't be read so.
        """
        *above, name = path.split(".")
        values: Any = self.values
        for each in above:
            values = values[each]
        values[name] = _like(values[name], text)
        self.origins[path] = origin


def _leaves(path: str, values: Mapping[Any, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, dict) and value and all(isinstance(each, str) for each in value):
            yield from _leaves(f"{path}.{name}", value)
        else:
            yield f"{path}.{name}", value


def _like(value: Any, text: str) -> Any:
    """A text as the kind of value that the section's `default()` has."""
    if isinstance(value, bool):
        return FLAG.parse(text)
    if isinstance(value, int | float):
        try:
            return type(value)(text)
        except ValueError as error:
            raise wrong(text, "a whole number" if isinstance(value, int) else "a number") from error
    return split(text) if isinstance(value, list | tuple) else text
