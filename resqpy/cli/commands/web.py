"""`resqpy web`: the console, its links and its users."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Coroutine, Sequence
from typing import TYPE_CHECKING, Any

import click

from resqpy.base.errors import ResqpyError, UsageError
from resqpy.base.imports import DISTRIBUTION, places_of
from resqpy.cli.arguments.flags import MILLISECONDS, option, options
from resqpy.cli.arguments.session import ask, load_without_tasks
from resqpy.cli.arguments.settings import current
from resqpy.cli.group import Group
from resqpy.cli.output import printing as output
from resqpy.cli.output.printing import Exit
from resqpy.diagnosis import texts

if TYPE_CHECKING:
    import asyncio

    from resqpy.base.masking import Redaction
    from resqpy.cli.arguments.settings import Settings
    from resqpy.engine.inspect.inspector import Resque
    from resqpy.framework.project.project import Project
    from resqpy.framework.project.registry import Registry

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


def missing_packages() -> str:
    """The packages that the console needs and that are not installed."""
    wanted = ("jinja2", "starlette", "uvicorn")
    return ", ".join(each for each in wanted if not places_of(each))


def need_packages() -> None:
    """Say how to install what the console needs."""
    if missing := missing_packages():
        words = f"the console needs more packages: pip install '{DISTRIBUTION}[web]' ({missing})"
        raise output.fail(Exit.ERROR, words)


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
    says so; then its users sign in with passwords (resqpy web users add). In an empty directory, with no Redis
    named, it starts one.
    """
    need_packages()
    import asyncio

    from resqpy.framework.config.config import scheduler_options
    from resqpy.web.app import Console, ConsoleOptions
    from resqpy.web.serving import allowed_hosts, serve as serve_console

    settings = current()
    with load_without_tasks(settings, empty=True) as place:
        options = ConsoleOptions(
            allowed_hosts=allowed_hosts(host, public_host),
            read_only=read_only,
            root_path=_checked_path(root_path),
            redaction=settings.redaction,
            environment=place.config.environment,
            registry=_tasks(settings) if settings.has_project else None,
            leader=scheduler_options(place.config),
            timezone=place.config.general.timezone,
        )
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(
                serve_console(
                    Console(place.connection, options), host, port,
                    trusted_proxies=trusted_proxy, on_start=_tell,
                )
            )  # fmt: skip


def _tasks(settings: Settings) -> Registry:
    """The project's tasks; a console is also for when something is wrong with them."""
    from resqpy.framework.project.project import Project

    project = Project.load(
        settings.root, settings.environment, settings.parsed(), tasks=settings.modules
    )
    for each in project.errors:
        output.warn(f"{each}; the console goes on without it")
    return project.registry


def _checked_path(path: str) -> str:
    if path and not path.startswith("/"):
        raise click.UsageError(f"--root-path {path}: it begins with /")
    return path.rstrip("/")


async def serve_beside(project: Project, redaction: Redaction, until: asyncio.Event) -> None:
    """Serve the console of a project beside its worker, at the usual port or else at any free one, and print a
    link to it. What goes wrong is told, and ends nothing else.
    """
    import asyncio

    from resqpy.framework.config.config import scheduler_options
    from resqpy.framework.logs.log import get_logger

    def console(port: int) -> Coroutine[Any, Any, None]:
        from resqpy.web.app import Console, ConsoleOptions
        from resqpy.web.serving import serve as serve_console

        options = ConsoleOptions(
            redaction=redaction,
            environment=project.config.environment,
            registry=project.registry,
            leader=scheduler_options(project.config),
            timezone=project.config.general.timezone,
        )
        made = Console(project.connection, options)
        return serve_console(made, "127.0.0.1", port, on_start=_tell, until=until)

    try:
        try:
            await (await asyncio.to_thread(console, PORT))
        except UsageError:  # another one is there
            await console(0)
    except ResqpyError as error:
        get_logger().warning("the console is not served", error=str(error))


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
    need_packages()
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
    need_packages()
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
    need_packages()
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
    need_packages()
    from resqpy.web.signin import remove_user

    if not ask(lambda resque: remove_user(resque.store, name)):
        raise output.fail(Exit.NOT_FOUND, f"there is no user {name!r}: resqpy web users")
    output.show({"name": name}, lambda: output.say(f"removed the user {name!r}"))


# -- access tokens of the HTTP API --


@web.group(cls=Group, default="list")
def token() -> None:
    """Access tokens, with which programs use the HTTP API."""


@token.command("list")
def list_tokens() -> None:
    """Show all tokens with what they may do; never the tokens themselves."""
    need_packages()
    from resqpy.web.tokens import every, token_json

    found = ask(lambda resque: every(resque.store))
    output.listing(
        found, token_json, ("id", "name", "scopes", "expires", "last used"),
        lambda each: (
            each.id, each.name, " ".join(each.scopes),
            "never" if each.until_ms is None else texts.local(each.until_ms),
            "never" if each.used_ms is None else texts.distance(each.used_ms),
        ),
        empty="no tokens; make one: resqpy web token create NAME --scope read",
    )  # fmt: skip


@token.command("create")
@click.argument("name")
@option("--scope", "scopes", multiple=True, required=True, metavar="SCOPE",
        help="What it may do; repeatable: read, operate, admin, metrics, enqueue, enqueue:TASK, tasks, "
        "tasks:read, tasks:create, tasks:create:TASK, tasks:cancel, tasks:change.")  # fmt: skip
@option("--expires", type=MILLISECONDS, metavar="DURATION",
        help="How long it is valid, as 30d; default: forever.")  # fmt: skip
def create_token(name: str, *, scopes: Sequence[str], expires: int | None) -> None:
    """Make a token for a program, whose name it has.

    It is shown once: Redis has only its digest.
    """
    need_packages()
    from resqpy.web.tokens import create, token_json

    secret, made = ask(lambda resque: create(resque.store, name, scopes, for_ms=expires))
    output.show({**token_json(made), "token": secret}, lambda: output.say(secret))


@token.command("revoke")
@click.argument("token", metavar="NAME_OR_ID")
def revoke_token(token: str) -> None:
    """Remove a token: from now on it gives no access."""
    need_packages()
    from resqpy.web.tokens import revoke, token_json

    gone = ask(lambda resque: revoke(resque.store, token))
    if not gone:
        raise output.fail(Exit.NOT_FOUND, f"there is no token {token!r}: resqpy web token list")
    output.show(
        [token_json(each) for each in gone],
        lambda: output.say(f"revoked the token {gone[0].name!r}"),
    )
