"""Options whose value is JSON."""

from __future__ import annotations

from typing import Any

import click


class Json(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.3
    """A JSON text: an object or a list."""

    name = "json"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from resqpy.base.codec import decode_text

        if not isinstance(value, str):
            return value
        try:
            found = decode_text(value)
        except ValueError as error:
            self.fail(f"this is no JSON: {error} (in a shell: '{{\"name\": 1}}')", param, ctx)
        if not isinstance(found, (dict, list)):
            self.fail(f"{value} is neither an object nor a list", param, ctx)
        return found
