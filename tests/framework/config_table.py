"""The tables of settings and of properties in the reference, from the declarations:
`python -m tests.framework.config_table`.
"""

from __future__ import annotations

import inspect
import re
from pathlib import Path

from resqpy.framework.config.kinds import Option
from resqpy.framework.config.merge import KNOWN
from resqpy.framework.config.sections import SECTIONS
from resqpy.framework.tasks.task import PROPERTIES, Task

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"
_PROPERTY = re.compile(r"^    (\w+): (.*(?:\n     .*)*)", re.MULTILINE)


def settings() -> str:
    """A table for each section."""
    return "\n".join(_table(section) for section in SECTIONS)


def _table(section: str) -> str:
    words = (SECTIONS[section].__doc__ or "").strip()
    rows = [_row(path, option) for path, option in KNOWN.items() if path.startswith(f"{section}.")]
    head = f"### `config/{section}.py`\n\n{words}\n\n| setting | default | also | meaning |\n|---|---|---|---|\n"
    return head + "\n".join(rows) + "\n"


def _row(path: str, option: Option) -> str:
    others = ", ".join(f"`{each.name}`" for each in option.historic)
    default = option.default if not isinstance(option.default, tuple) else list(option.default)
    return f"| `{option.path}` | `{default!r}` | {others} | {option.words} |".replace("|  |", "| |")


def properties() -> str:
    """The table of a task's properties, as `Task` declares them."""
    said = {
        found[1]: " ".join(found[2].split())
        for found in _PROPERTY.finditer(inspect.getdoc(Task) or "")
    }
    rows = [_property(name, said[name]) for name in PROPERTIES]
    return "\n".join(["| property | default | meaning |", "|---|---|---|", *rows]) + "\n"


def _property(name: str, words: str) -> str:
    told = re.search(r"Default: (.*?)\.( |$)", words)
    meaning = words.replace(told[0], "").strip() if told else words
    value = getattr(Task, name)
    plain = {} if name in {"plugin_options", "inputs"} else list(value) if value == () else value
    default = told[1] if told else f"`{plain!r}`"
    return f"| `{name}` | {default} | {meaning[:1].upper()}{meaning[1:]} |"


PAGES = {
    REFERENCE / "config.md": ("settings", settings),
    REFERENCE / "tasks.md": ("properties", properties),
}


def in_document(page: Path) -> str:
    """The document with the tables as they are to be."""
    name, make = PAGES[page]
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, _, rest = page.read_text().partition(begin)
    _, _, after = rest.partition(end)
    return f"{before}{begin}\n\n{make()}\n{end}{after}"


if __name__ == "__main__":
    for each in PAGES:
        each.write_text(in_document(each))
