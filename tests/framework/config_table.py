"""The tables of docs/reference/config.md, from the declarations: `python -m tests.framework.config_table`."""

from __future__ import annotations

from pathlib import Path

from resqpy.framework.config_merge import KNOWN
from resqpy.framework.options import Option
from resqpy.framework.sections import SECTIONS

DOC = Path(__file__).parents[2] / "docs" / "reference" / "config.md"
BEGIN, END = "<!-- settings: begin -->", "<!-- settings: end -->"


def tables() -> str:
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


def in_document(text: str) -> str:
    """The document with the tables as they are to be."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{tables()}\n{END}{after}"


if __name__ == "__main__":
    DOC.write_text(in_document(DOC.read_text()))
