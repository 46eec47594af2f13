"""`resqpy process`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from resqpy.base.errors import UsageError
from resqpy.base.imports import near_match
from resqpy.cli.arguments.flags import MILLISECONDS, option, options
from resqpy.cli.arguments.session import ask, whoami
from resqpy.cli.group import Command, Group
from resqpy.cli.output import printing as output
from resqpy.cli.output.printing import Exit
from resqpy.diagnosis import texts

if TYPE_CHECKING:
    from resqpy.diagnosis.processes import SeenProcess
    from resqpy.engine.inspect.inspector import Resque

DEFAULT = "default"
WAIT_MS, VALID_MS = 15_000, 300_000
HEADS = ("process", "host", "pid", "state", "busy", "seen", "log", "queues")
CHOICE = options(
    click.argument("ids", nargs=-1, metavar="[ID]…"),
    option("--host", metavar="NAME", help="All processes of this host."),
    option("--all", "all_of_them", is_flag=True, help="All processes."),
    option("--wait", "wait_ms", type=MILLISECONDS, default=WAIT_MS, metavar="DURATION",
           help="How long to wait for answers.  [default: 15s]"),
)  # fmt: skip
VALID = options(
    option("--within", "valid_ms", type=MILLISECONDS, default=VALID_MS, metavar="DURATION",
           help="A process that is away may still obey it within this time.  [default: 5m]"),
)  # fmt: skip


# The variables of its options: `RESQPY_PROCESS_…` are settings.
_VARIABLES = {"auto_envvar_prefix": "RESQPY_PROCESSES"}


@click.group(cls=Group, default="list", context_settings=_VARIABLES)
def process() -> None:
    """Show the worker processes of resqpy; let them say how they are, take no more jobs, stop, scale, or log more.

    A process is named by the beginning of its id, or as host:pid. It answers within a second; if a job blocks its
    event loop, with its next heartbeat at the latest (10 s). What is away, or of an older resqpy, does not
    answer, and what a blocked event loop is to do is not done yet: exit code 6.
    """


@process.command("list")
def list_() -> None:
    """Show the processes."""
    from resqpy.diagnosis.processes import processes

    async def look(resque: Resque) -> tuple[list[SeenProcess], int]:
        return await processes(resque), await resque.now_ms()

    found, now_ms = ask(look)

    def cells(each: SeenProcess) -> tuple[Any, ...]:
        seen = texts.distance(min(each.seen_ms, now_ms), now_ms)
        busy = f"{each.busy} of {each.workers}"
        log = _log(each.log_level, each.log_until_ms, now_ms)
        return each.id, each.host, each.pid, each.state, busy, seen, log, each.queues

    output.listing(found, lambda each: each.as_json(), HEADS, cells, empty="no worker processes")


@process.command()
@CHOICE
def ping(**chosen: Any) -> int:
    """Ask processes how they are."""
    return _order("ping", {}, _said, **chosen, valid_ms=chosen["wait_ms"])


@process.command()
@CHOICE
def stacks(**chosen: Any) -> int:
    """Show what processes do: all asyncio tasks and the stacks of all threads.

    Also of a process whose event loop is blocked by a job, and by what.
    """

    def told(answer: dict[str, Any]) -> str:
        cut = "\n(cut)" if answer.get("cut") else ""
        return f"{_said(answer)}\n{answer.get('stacks', '')}{cut}"

    return _order("stacks", {}, told, **chosen, valid_ms=chosen["wait_ms"])


@process.command(cls=Command, destroys=True)
@CHOICE
@VALID
def quiet(**chosen: Any) -> int:
    """Let processes take no more jobs, until they are restarted. Running jobs go on."""
    return _order("quiet", {}, _said, **chosen, question="Let {} take no more jobs?")


@process.command(cls=Command, destroys=True)
@CHOICE
@VALID
@option("--timeout", "timeout_ms", type=MILLISECONDS, metavar="DURATION",
        help="How long running jobs may go on. Default: the config's stop_timeout.")  # fmt: skip
def stop(*, timeout_ms: int | None, **chosen: Any) -> int:
    """Stop processes, as the signal TERM does. Their supervisor may start others."""
    args = {} if timeout_ms is None else {"timeout_ms": timeout_ms}
    return _order("stop", args, _said, **chosen, question="Stop {}?")


@process.command()
@click.argument("bounds", metavar="MIN-MAX")
@CHOICE
@VALID
def scale(*, bounds: str, **chosen: Any) -> int:
    """Let processes work with so many task processors, such as 5-20 or 10, until they are restarted."""
    from resqpy.store.orders import MOST_TASK_PROCESSORS

    least, _, most = bounds.partition("-")
    given = [int(each) for each in (least, most or least) if each.isdecimal() and len(each) < 10]
    if len(given) != 2 or not given[0] <= given[1] <= MOST_TASK_PROCESSORS:
        raise click.UsageError(
            f"{bounds!r}: give the least and the most, such as 5-20, or one number; at most "
            f"{MOST_TASK_PROCESSORS:,}, for more start more processes"
        )
    args = dict(zip(("min", "max"), given, strict=True))
    return _order("scale", args, _said, **chosen)


@process.command("log-level")
@click.argument("level", metavar="LEVEL")
@CHOICE
@VALID
@option("--for", "for_ms", type=MILLISECONDS, metavar="DURATION",
        help="How long; then their configuration holds again. Default: until they are restarted.")  # fmt: skip
def log_level(*, level: str, for_ms: int | None, **chosen: Any) -> int:
    """Let processes write log lines of this level and above: debug, info, warning, error, critical, or default.

    `default` is the level of their configuration.
    """
    from resqpy.framework.config.kinds import LEVEL, LEVELS

    args: dict[str, Any] = {} if for_ms is None else {"for_ms": for_ms}
    try:
        args |= {} if level == DEFAULT else {"log_level": LEVEL.check(level)}
    except UsageError as error:
        known = (*LEVELS, DEFAULT)
        hint = near_match(level.lower(), known)
        raise click.UsageError(
            f"{level!r} is not a log level ({', '.join(known)}){hint}"
        ) from error
    if level == DEFAULT and for_ms is not None:
        raise click.UsageError("--for: `default` holds until another level is ordered")

    def told(answer: dict[str, Any]) -> str:
        if "error" in answer or "waits" in answer:
            return _said(answer)
        log = answer.get("log", {})
        left = f" for {texts.duration(for_ms)}" if for_ms is not None and "until" in log else ""
        return f"logs {log.get('now', log.get('level'))} and above{left}"

    return _order("log-level", args, told, **chosen)


def _log(level: str, until_ms: int | None, now_ms: int) -> str:
    left = "" if until_ms is None else f" for {texts.duration(until_ms - now_ms)}"
    return f"{level or '-'}{left}"


def _said(answer: dict[str, Any]) -> str:
    if "error" in answer:
        return f"error: {answer['error']}"
    blocked = answer.get("blocked_s")
    waits = answer.get("waits")
    return (
        f"{answer.get('state')}, {answer.get('busy')} of {answer.get('processors')} task processors busy "
        f"({answer.get('min')} to {answer.get('max')}), resqpy {answer.get('version')}"
        + (f", its event loop has been blocked for {blocked:g} s" if blocked else "")
        + (f"; {waits}" if waits else "")
    )


def _order(
    verb: str,
    args: dict[str, Any],
    words: Callable[[dict[str, Any]], str],
    *,
    ids: tuple[str, ...],
    host: str | None,
    all_of_them: bool,
    wait_ms: int,
    valid_ms: int,
    question: str = "",
) -> int:
    """Give an order to the chosen processes, and show their answers; returns the exit code."""
    from resqpy.diagnosis.processes import order

    if bool(ids) + (host is not None) + all_of_them != 1:
        raise click.UsageError("specify ids (see `resqpy process list`), or --host, or --all")
    chosen = ask(lambda resque: _chosen(resque, ids, host))
    if question:
        output.confirm(question.format(texts.counted(len(chosen), "process", "processes")))
    by = whoami()
    answers = ask(
        lambda resque: order(
            resque, chosen, verb, args, wait_s=wait_ms / 1000, valid_ms=max(valid_ms, 1), by=by
        )
    )
    shown = [{**each.as_json(), "answer": answers.get(each.id)} for each in chosen]
    output.show(shown, lambda: _print(chosen, answers, words))
    fine = all(
        not {"error", "waits"} & answers.get(each.id, {"error": ""}).keys() for each in chosen
    )
    return Exit.OK if fine else Exit.NO


def _print(
    chosen: list[SeenProcess], answers: dict[str, Any], words: Callable[[dict[str, Any]], str]
) -> None:
    for each in chosen:
        answer = answers.get(each.id)
        told = "no answer" if answer is None else words(answer)
        output.say_block(f"{each.host}:{each.pid} ({each.id}): {told}\n")


async def _chosen(resque: Resque, ids: tuple[str, ...], host: str | None) -> list[SeenProcess]:
    """The processes that are meant, of those that `process list` shows.

    Raises:
        click.ClickException: there is no such process, or there are several.
    """
    from resqpy.diagnosis.processes import processes

    found = await processes(resque)
    chosen = [each for each in found if host in (None, each.host)]
    if ids:
        chosen = []
        for wanted in ids:
            named = [each for each in found if each.is_named(wanted)]
            if len(named) != 1:
                what = "no process" if not named else f"{len(named)} processes"
                hint = near_match(wanted, [f"{each.host}:{each.pid}" for each in found])
                raise output.fail(Exit.NOT_FOUND, f"{what} {wanted!r}{hint}")
            chosen += [each for each in named if each not in chosen]
    if not chosen:
        raise output.fail(Exit.NOT_FOUND, "no such worker process; see `resqpy process list`")
    return chosen
