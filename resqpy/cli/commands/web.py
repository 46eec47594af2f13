"""`resqpy web`: the console, its links and its users."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from resqpy.base.imports import DISTRIBUTION
from resqpy.cli.arguments.flags import option, options
from resqpy.cli.arguments.session import ask, load_without_tasks
from resqpy.cli.arguments.settings import current
from resqpy.cli.group import Group
from resqpy.cli.output import printing as output
from resqpy.cli.output.printing import Exit

if TYPE_CHECKING:
    from resqpy.engine.inspect.inspector import Resque

PORT = 8937
_ROLE = option("--role", type=click.Choice(["viewer", "operator", "admin"]), default="admin", metavar="ROLE",
               show_default=True, help="What they may do: viewer, operator or admin.")  # fmt: skip
_PLACE = options(
    option("--host", default="127.0.0.1", show_default=True, metavar="ADDRESS",
           help="Listen at this address."),
    option("--port", type=click.IntRange(0, 65535), default=PORT, show_default=True, metavar="PORT",
           help="Listen at this port; 0: any free one."),
    option("--root-path", default="", metavar="PATH",
           help="The path below which a proxy serves the console, as /jobs."),
)  # fmt: skip


def _need_extra() -> None:
    """Say how to install what the console needs."""
    try:
        import jinja2  # noqa: F401 - whether it is there
        import starlette  # noqa: F401 - as above
        import uvicorn  # noqa: F401 - as above
    except ImportError as error:
        words = f"the console needs more packages: pip install '{DISTRIBUTION}[web]' ({error})"
        raise output.fail(Exit.ERROR, words) from error


@click.group(cls=Group, default="serve")
def web() -> None:
    """Serve the console: pages and an HTTP API; manage who may use it."""


@web.command(json=False)
@_PLACE
@option("--public-host", multiple=True, metavar="NAME",
        help="A host name by which browsers reach it, besides the address; repeatable.")  # fmt: skip
@option("--trusted-proxy", multiple=True, metavar="ADDRESS",
        help="A proxy whose X-Forwarded-For and -Proto are believed; repeatable.")  # fmt: skip
@option("--read-only", is_flag=True, help="Refuse all changes, and write nothing to Redis.")
def serve(
    *,
    host: str,
    port: int,
    root_path: str,
    public_host: Sequence[str],
    trusted_proxy: Sequence[str],
    read_only: bool,
) -> None:
    """Serve the console until Ctrl-C.

    On this machine it prints a link that works once, for ten minutes. Other machines can reach it if --host
    says so; then its users sign in with passwords (resqpy web users add).
    """
    _need_extra()
    import asyncio

    from resqpy.web.app import Console, ConsoleOptions
    from resqpy.web.serving import allowed_hosts, serve as serve_console

    settings = current()
    with load_without_tasks(settings) as place:
        options = ConsoleOptions(
            allowed_hosts=allowed_hosts(host, public_host),
            read_only=read_only,
            root_path=_checked_path(root_path),
            redaction=settings.redaction,
            environment=place.config.environment,
        )
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(
                serve_console(
                    Console(place.connection, options), host, port,
                    trusted_proxies=trusted_proxy, on_start=_tell,
                )
            )  # fmt: skip


def _checked_path(path: str) -> str:
    if path and not path.startswith("/"):
        raise click.UsageError(f"--root-path {path}: it begins with /")
    return path.rstrip("/")


def _tell(link: str) -> None:
    output.say("the console is at ", link)
    sys.stdout.flush()


@web.command()
@_ROLE
@_PLACE
def link(*, role: str, host: str, port: int, root_path: str) -> None:
    """Make a link to the console that works once, for ten minutes.

    A console with --read-only doesn't know it, because it is kept in Redis.
    """
    _need_extra()
    from resqpy.web.signin import Sessions
    from resqpy.web.vault import RedisVault

    async def do(resque: Resque) -> str:
        return await Sessions(resque.store, RedisVault(resque.store)).new_link(role)

    made = f"http://{host}:{port}{_checked_path(root_path)}/login?code={ask(do)}"
    output.show({"link": made, "role": role}, lambda: output.say(made))


# -- users --


@web.group(cls=Group, default="list")
def users() -> None:
    """Users of the console, who sign in with a password."""


@users.command("list")
def list_users() -> None:
    """Show all users and their roles."""
    _need_extra()
    from resqpy.web.signin import users as all_users

    found = ask(lambda resque: all_users(resque.store))
    output.listing(
        list(found.items()), lambda row: {"name": row[0], "role": row[1]}, ("user", "role"), tuple,
        empty="no users; add one: resqpy web users add NAME",
    )  # fmt: skip


@users.command()
@click.argument("name")
@_ROLE
def add(name: str, *, role: str) -> None:
    """Add a user, or give one another role or password. It asks for the password, or reads it from standard
    input.
    """
    _need_extra()
    from resqpy.web.signin import keep_user

    if sys.stdin.isatty():
        password = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    else:
        password = sys.stdin.readline().rstrip("\n")
    new = ask(lambda resque: keep_user(resque.store, name, role, password))
    output.show(
        {"name": name, "role": role, "new": new},
        lambda: output.say(f"{'added' if new else 'changed'} the user {name!r} ({role})"),
    )


@users.command()
@click.argument("name")
def remove(name: str) -> None:
    """Remove a user, whose sessions end."""
    _need_extra()
    from resqpy.web.signin import remove_user

    if not ask(lambda resque: remove_user(resque.store, name)):
        raise output.fail(Exit.NOT_FOUND, f"there is no user {name!r}: resqpy web users")
    output.show({"name": name}, lambda: output.say(f"removed the user {name!r}"))
