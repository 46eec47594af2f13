"""`resqpy healthcheck`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from resqpy.cli import output
from resqpy.cli.exits import Exit
from resqpy.cli.group import command
from resqpy.cli.options import option
from resqpy.cli.session import ask, load_place
from resqpy.cli.settings import current

if TYPE_CHECKING:
    from resqpy.engine.inspector import Inspector


@command()
@option("--worker", is_flag=True, help="There must be a live worker on this host.")
@option("--scheduler", is_flag=True, help="Some scheduler must lead.")
@option("--max-age", type=int, default=120, show_default=True, metavar="SECONDS",
        help="How old a worker's last sign of life may be.")  # fmt: skip
def healthcheck(*, worker: bool, scheduler: bool, max_age: int) -> int:
    """Health check: exit code 0 if healthy, else 6 (or 4: Redis can't be reached).

    Without options it asks only whether Redis answers.
    """
    from resqpy.engine.identity import host_name

    settings = current()
    host = host_name(load_place(settings).config.tasks.host)

    async def look(inspector: Inspector) -> dict[str, Any]:
        found: dict[str, Any] = {"redis": True}
        if worker:
            found["worker"] = await _lives_on(host, inspector, max_age)
        if scheduler:
            found["scheduler"] = await inspector.leader() is not None
        return found

    found = ask(look)
    healthy = all(found.values())
    output.show({"healthy": healthy, **found}, lambda: _print(found))
    return Exit.OK if healthy else Exit.NO


async def _lives_on(host: str, inspector: Inspector, max_age_s: int) -> bool:
    from resqpy.diagnosis.workers import last_seen_ms
    from resqpy.engine.identity import place_of

    workers = await inspector.workers()
    here = [each for each, who in workers.items() if place_of(who)[0] == host]
    seen = await last_seen_ms(inspector, here)
    oldest = await inspector.now_ms() - max_age_s * 1000
    return any(each is not None and each >= oldest for each in seen.values())


def _print(found: dict[str, Any]) -> None:
    words = {
        "redis": ("Redis answers", ""),
        "worker": ("a worker lives on this host", "no live worker on this host"),
        "scheduler": ("a scheduler leads", "no scheduler leads"),
    }
    for name, good in found.items():
        sign = output.paint("ok  ", fg="green") if good else output.paint("bad ", fg="red")
        output.say(sign, " ", words[name][0 if good else 1])
