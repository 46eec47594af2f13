"""How a section of the config is declared: a frozen dataclass whose fields have type and description."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import Field, dataclass, field, fields
from typing import Any

from resqpy.base.errors import UsageError
from resqpy.framework.config.kinds import Kind


@dataclass(frozen=True, slots=True)
class Historic:
    """An equivalent environment variable of Resque, ActionHero or Heroku.

    Attributes:
        convert: converts its text to our unit (seconds become milliseconds); None for "not set".
    """

    name: str
    convert: Callable[[str], str | None] = str


@dataclass(frozen=True, slots=True)
class Option:
    """A setting.

    Attributes:
        path: `timeout`, `worker_logging.failure`; below the name of its section.
        default: the value if nothing sets it.
        words: its description.
        historic: older names of its environment variable; the first that is set counts.
        secret: must not be shown.
        source: the engine's options that declare it, and its name there.
    """

    path: str
    kind: Kind
    default: Any
    words: str
    historic: tuple[Historic, ...] = ()
    secret: bool = False
    source: tuple[type, str] | None = None

    def checked(self, value: Any) -> Any:
        """The checked value from a config file or a flag.

        Raises:
            UsageError: it is invalid; a secret one is not quoted.
        """
        return self._told(lambda: self.kind.check(value))

    def parsed(self, text: str) -> Any:
        """The same from text.

        Raises:
            UsageError: as `checked`.
        """
        return self._told(lambda: self.kind.check(self.kind.parse(text)))

    def _told(self, make: Callable[[], Any]) -> Any:
        try:
            return make()
        except UsageError:
            if not self.secret:
                raise
        raise UsageError(f"its value is not {self.kind.words}")


def option(
    default: Any,
    kind: Kind,
    words: str,
    *historic: str | Historic,
    secret: bool = False,
    source: tuple[type, str] | None = None,
) -> Any:
    """A field of a section."""
    older = tuple(Historic(each) if isinstance(each, str) else each for each in historic)
    entry = {
        "kind": kind,
        "words": words,
        "historic": older,
        "secret": secret,
        "default": default,
        "source": source,
    }
    return field(  # a dict can't be a plain default
        default_factory=lambda: default, metadata=entry, repr=not secret
    )


def same(options: type, name: str, kind: Kind, *historic: str | Historic) -> Any:
    """A field that the engine's options declare; seconds there are milliseconds here."""
    declared = next(each for each in fields(options) if each.name == name)
    default: Any = declared.default
    if name.endswith("_s"):
        default = round(default * 1000)
    return option(default, kind, declared.metadata["words"], *historic, source=(options, name))


def part(section: type) -> Any:
    """A field that is a group of settings."""
    return field(default_factory=section, metadata={"part": section})


def options_of(section: type, prefix: str = "") -> Iterator[Option]:
    """All settings of a section, including groups."""
    for each in fields(section):
        if "part" in each.metadata:
            yield from options_of(each.metadata["part"], f"{prefix}{each.name}.")
        else:
            yield _option(each, prefix)


def _option(declared: Field[Any], prefix: str) -> Option:
    return Option(path=f"{prefix}{declared.name}", **declared.metadata)


def build(section: type, values: Mapping[str, Any], prefix: str = "") -> Any:
    """A section from checked values by path."""
    given = {}
    for each in fields(section):
        path = f"{prefix}{each.name}"
        if "part" in each.metadata:
            given[each.name] = build(each.metadata["part"], values, f"{path}.")
        elif path in values:
            given[each.name] = values[path]
    return section(**given)


def seconds(text: str) -> str:
    """Convert Resque's seconds to our unit; a text may also have a unit."""
    return text if text.strip()[-1:].isalpha() else f"{text.strip()}s"
