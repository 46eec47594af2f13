"""`resqpy config show`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from resqpy.base.imports import near_match
from resqpy.cli.arguments.flags import option
from resqpy.cli.arguments.session import load_place
from resqpy.cli.arguments.settings import current
from resqpy.cli.group import Group
from resqpy.cli.output import printing as output
from resqpy.cli.output.printing import Exit

if TYPE_CHECKING:
    from resqpy.framework.config.merge import Setting
    from resqpy.framework.project.place import ProjectDirectory


@click.group(cls=Group, default="show")
def config() -> None:
    """Show the config, and where each value comes from."""


@config.command()
@click.argument("names", nargs=-1, metavar="[SECTION|SETTING]…")
@option("--origin", is_flag=True, help="Also show where each value comes from, and its variable.")
@option("--changed", is_flag=True, help="Only settings that differ from the defaults.")
def show(names: tuple[str, ...], *, origin: bool, changed: bool) -> None:
    """Show the settings (secrets as ***); all, or those of some sections: `tasks`, `tasks.timeout`."""
    settings = current()
    place = load_place(settings)
    loaded, server = place.config, _server(place)
    chosen = _chosen(loaded.settings, names)
    if changed:
        chosen = [each for each in chosen if not each.origin.startswith("default")]
    output.show(
        {
            "environment": loaded.environment,
            "redis": server,
            "settings": [_as_json(each) for each in chosen],
        },
        lambda: _print(chosen, loaded.environment, server, origin=origin),
    )


def _server(place: ProjectDirectory) -> dict[str, Any]:
    """The Redis that commands of this project ask: its URL, and of an embedded one whether it runs."""
    from resqpy.base.masking import masked_url

    if not place.uses_embedded_redis:
        return {"url": masked_url(place.connection().url), "embedded": False}
    from resqpy.embedded import look

    url, running = look(place.root)
    return {"url": url, "embedded": True, "running": running}


def _chosen(settings: Sequence[Setting], names: Sequence[str]) -> list[Setting]:
    if not names:
        return list(settings)
    for name in names:
        if not any(_is_in(each.path, name) for each in settings):
            known = {each.path for each in settings} | {
                each.path.split(".")[0] for each in settings
            }
            raise output.fail(
                Exit.NOT_FOUND, f"there is no setting {name!r}{near_match(name, known)}"
            )
    return [each for each in settings if any(_is_in(each.path, name) for name in names)]


def _is_in(path: str, name: str) -> bool:
    return path == name or path.startswith(f"{name}.")


def _as_json(setting: Setting) -> dict[str, Any]:
    return {
        "path": setting.path,
        "value": setting.masked,
        "origin": setting.origin,
        "variable": setting.variable,
    }


def _print(
    settings: Sequence[Setting], environment: str, server: dict[str, Any], *, origin: bool
) -> None:
    output.note(f"environment: {environment}")
    state = "embedded, runs" if server.get("running") else "embedded, starts when it is needed"
    output.note(f"redis: {server['url']}" + (f" ({state})" if server["embedded"] else ""))
    columns = 4 if origin else 2
    output.table(
        ("setting", "value", "origin", "variable")[:columns],
        [(e.path, e.shown(), e.origin, e.variable)[:columns] for e in settings],
        empty="nothing differs from the defaults",
    )
