"""Options whose value is JSON."""

from __future__ import annotations

import sys
from typing import Any

import click


class Json(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.3
    """A JSON text: an object or a list; `-` reads it from standard input."""

    name = "json"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from resqpy.base.codec import decode_text

        if not isinstance(value, str):
            return value
        if value == "-":
            value = sys.stdin.read()
        try:
            found = decode_text(value)
        except ValueError as error:
            self.fail(f"this is no JSON: {error} (in a shell: '{{\"name\": 1}}')", param, ctx)
        if not isinstance(found, (dict, list)):
            self.fail(f"{value} is neither an object nor a list", param, ctx)
        return found
