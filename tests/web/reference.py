"""The generated part of docs/reference/http-api.md: `python -m tests.web.reference` writes it again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from resqpy.web.api import horizon, v1
from resqpy.web.api.document import kinds_of
from resqpy.web.api.endpoint import ApiEndpoint
from resqpy.web.api.problems import KINDS
from resqpy.web.api.schema import Schema
from resqpy.web.tokens import SCOPES
from tests.support.source import ROOT

DOC = ROOT / "docs" / "reference" / "http-api.md"
BEGIN = "<!-- generated: python -m tests.web.reference -->\n"
END = "<!-- end of what is generated -->\n"
TABLES = {
    v1.PREFIX: v1.TABLE,
    horizon.PREFIX: horizon.TABLE,
    horizon.SIGN_IN_PREFIX: horizon.SIGN_IN,
}


def generated() -> str:
    """The scopes, all endpoints, and all problems."""
    lines = ["## Scopes", "", "| scope | what it lets do |", "|---|---|"]
    lines += [
        f"| `{name}{'TASK' if name.endswith(':') else ''}` | {words} |"
        for name, words in SCOPES.items()
    ]
    for prefix, table in TABLES.items():
        lines += ["", f"## `{prefix}`"]
        for each in table:
            lines += _of_endpoint(each)
    lines += ["", "## Problems", "", "`type` is `urn:resqpy:problem:` and the name.", ""]
    lines += ["| name | status | title |", "|---|---|---|"]
    lines += [f"| `{each.name}` | {each.status} | {each.title} |" for each in KINDS.values()]
    return "\n".join(lines) + "\n"


def _of_endpoint(endpoint: ApiEndpoint) -> Iterator[str]:
    yield from ("", f"### `{endpoint.method} {endpoint.path}`", "", endpoint.summary)
    scopes = " or ".join(f"`{each}`" for each in endpoint.scopes) or "none"
    problems = ", ".join(f"`{name}`" for name in _own_problems(endpoint)) or "none of its own"
    yield from ("", f"Scope: {scopes}. Answers {endpoint.status}; problems: {problems}.")
    if endpoint.parameters:
        yield from ("", "| parameter | | |", "|---|---|---|")
        for each in endpoint.parameters:
            where = "" if each.where == "query" else f", in the {each.where}"
            needed = "" if each.required == (each.where == "path") else ", needed"
            words = f"{_type(each.schema)}{where}{needed}"
            yield f"| `{each.name}` | {words} | {each.summary} |"
    if endpoint.body is not None:
        yield from _of_body(endpoint.body)


def _own_problems(endpoint: ApiEndpoint) -> list[str]:
    return [kind.name for kind in kinds_of(endpoint) if kind.name in endpoint.problems]


def _of_body(schema: Schema) -> Iterator[str]:
    several = "oneOf" in schema
    shown = schema["oneOf"][0] if several else schema
    more = f", or a list of up to {schema['oneOf'][1]['maxItems']:,} such" if several else ""
    yield from ("", f"The body, an object{more}:", "", "| name | | |", "|---|---|---|")
    required: Sequence[str] = shown.get("required", ())
    for name, each in shown["properties"].items():
        needed = ", needed" if name in required else ""
        yield f"| `{name}` | {_type(each)}{needed} | {each.get('description', '')} |"


def _type(schema: Schema) -> str:
    kinds: Any = schema.get("type", "any")
    words = kinds if isinstance(kinds, str) else " or ".join(kinds)
    if schema.get("format") == "date-time":
        words = "time (RFC 3339)"
    options = schema.get("enum") or schema.get("items", {}).get("enum")
    if options:
        words += ": " + ", ".join(f"`{each}`" for each in options)
    if "minimum" in schema and "maximum" in schema:
        words += f", {schema['minimum']:,} to {schema['maximum']:,}"
    if "default" in schema:
        words += f"; default `{schema['default']}`"
    return words.replace("|", "\\|")


def in_document(text: str) -> str:
    """A document with its generated part as it should be."""
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n{generated()}\n{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    DOC.write_text(in_document(DOC.read_text()))
