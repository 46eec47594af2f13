"""`resqpy info`, `stats`, `leader`, `healthcheck`, `mark`, `pause`, `resume`: the installation as a whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from resqpy.base.errors import UsageError
from resqpy.cli.arguments.flags import option
from resqpy.cli.arguments.session import ask, load_place, whoami
from resqpy.cli.arguments.settings import current
from resqpy.cli.group import command
from resqpy.cli.output import cells as views, printing as output
from resqpy.cli.output.printing import Exit
from resqpy.diagnosis import texts
from resqpy.diagnosis.workers import leader_json

if TYPE_CHECKING:
    from resqpy.diagnosis.queues import QueueAges
    from resqpy.diagnosis.workers import SeenWorker
    from resqpy.engine.inspect.inspector import Inspector, Resque

_LONGEST_MARK = 200  # characters


@command()
@option("--every", is_flag=True, help="Include workers long gone; scans all keys.")
def stats(*, every: bool) -> None:
    """Show the counters: processed, failed, and both for each worker."""

    async def look(resque: Resque) -> dict[str, int]:
        return await resque.stats() if every else (await resque.details())["stats"]

    found = dict(sorted(ask(look).items()))
    rows = [(name, f"{number:,}") for name, number in found.items()]
    heads = ("counter", "number")
    output.show(found, lambda: output.table(heads, rows, empty="no counters", right=("number",)))


@command()
def leader() -> None:
    """Show who leads: the schedulers' locks in all three languages.

    It warns about a lock that never expires, two leaders at once, and schedules that don't run while resqpy
    leads because only a Ruby process knows them. It scans all keys of the database, in steps.
    """
    from resqpy.diagnosis.checks import leaders

    prefix = load_place(current()).config.scheduler.ruby_lock_prefix
    found, wrong = ask(lambda resque: leaders(resque.store, prefix))
    output.listing(found, leader_json, ("lock of", "leader", "ends"), _leader_cells, empty="")
    for message in wrong:
        output.warn(message)


def _leader_cells(lock: Any) -> tuple[str, str, str]:
    if lock.holder is None:
        return lock.language, "nobody", "-"
    who = f"{lock.holder} (resqpy)" if lock.ours else lock.holder
    ends = "never!" if lock.ttl_ms is None else f"in {texts.duration(lock.ttl_ms)}"
    return lock.language, who, ends


@command()
@option("--prometheus", is_flag=True, help="Print metrics in the text format of Prometheus.")
def info(*, prometheus: bool) -> None:
    """Show a summary: queues, workers, failed and delayed jobs, the leader.

    Also counts workers that are not registered but have a record, as far as a scan of some ten thousand
    keys finds them; `resqpy workers` lists them, and `resqpy doctor` scans all keys.
    """
    from resqpy.diagnosis.workers import installation

    if prometheus:
        _print_metrics()
        return

    found = ask(installation)
    output.show(found.as_json(), lambda: _print_info(found.as_json(), found.ages))
    views.tell_how_far(everything=found.everything)


def _print_metrics() -> None:
    from resqpy.framework.process.metrics import count_all, metrics_of, render

    found = ask(lambda resque: count_all(resque.store))
    output.say_block(render(metrics_of(found)).decode())


def _print_info(shown: dict[str, Any], ages: QueueAges) -> None:
    others = f"; {shown['unregistered']:,} more unregistered: see resqpy workers"
    first = ages.oldest()
    since = f", the first for {ages.words(*first)} (in {first[0]})" if first else ""
    output.properties(
        {
            "waiting": texts.counted(shown["waiting"], "job") + since,
            "workers": f"{shown['workers']:,}, {shown['working']:,} at work"
            + ", all paused" * shown["paused"]
            + others * bool(shown["unregistered"]),
            "processed": f"{shown['processed']:,}, {shown['failures']:,} failed",
            "failed list": texts.counted(shown["failed_jobs"], "job"),
            "delayed": f"at {texts.counted(shown['delayed_times'], 'time')}",
            "leader": shown["leader"] or "nobody: periodic tasks and delayed jobs don't run",
        }
    )
    output.say()
    sizes = sorted(shown["queues"].items(), key=lambda pair: -pair[1])
    rows = [(name, views.length(length), ages.words(name, length)) for name, length in sizes]
    heads = ("queue", "jobs", "oldest")
    output.table(heads, rows, empty="no queues", right=("jobs", "oldest"))


@command()
@click.argument("text")
@option("--by", default="", help="Who sets it. Default: you, on this host.")
def mark(text: str, *, by: str) -> None:
    """Mark this moment in the history, such as a deploy: `resqpy mark "v1.2"`.

    The charts of the console show marks. About the last five hundred are kept, for thirty days after the last.
    """
    from resqpy.store import history

    text, who = text.strip(), by or whoami()
    if not text or len(text) > _LONGEST_MARK:
        raise UsageError(
            f"a mark has 1 to {_LONGEST_MARK} characters, this one {len(text):,}; shorten it"
        )

    async def do(resque: Resque) -> None:
        await history.mark(resque.store, text, who[:_LONGEST_MARK])

    ask(do)
    output.show({"mark": text, "by": who}, lambda: output.say(f"marked: {text}"))


@command()
def pause() -> None:
    """Pause all workers, Ruby's and resqpy's: they finish their jobs and take no more."""
    _set_paused(paused=True)


@command()
def resume() -> None:
    """Resume all workers after `resqpy pause`."""
    _set_paused(paused=False)


def _set_paused(*, paused: bool) -> None:
    from resqpy.diagnosis.workers import all_workers, pause_words, unbound_by_pause
    from resqpy.store import overview

    async def do(resque: Resque) -> tuple[bool, list[SeenWorker]]:
        changed = await (overview.pause if paused else overview.resume)(resque.store)
        found = await all_workers(resque) if paused else []
        return changed, unbound_by_pause(found, resque.clock.now_ms())

    changed, unbound = ask(do)
    message = "paused" if paused else "resumed"
    output.show(
        {"paused": paused, "changed": changed},
        lambda: output.say(f"all workers {message}" if changed else f"they were {message} already"),
    )
    if unbound:
        output.warn(pause_words(unbound))


@command()
@option("--worker", is_flag=True, help="Require a live worker on this host.")
@option("--scheduler", is_flag=True, help="Require that some scheduler leads.")
@option("--max-age", type=int, default=120, show_default=True, metavar="SECONDS",
        help="Maximum age of a worker's last heartbeat.")  # fmt: skip
def healthcheck(*, worker: bool, scheduler: bool, max_age: int) -> int:
    """Health check: exit code 0 if healthy, else 6 (or 4: Redis can't be reached).

    Without options it only checks whether Redis answers.
    """
    from resqpy.diagnosis.workers import lives_on
    from resqpy.engine.worker.identity import host_name

    settings = current()
    host = host_name(load_place(settings).config.tasks.host)

    async def look(inspector: Inspector) -> dict[str, Any]:
        found: dict[str, Any] = {"redis": True}
        if worker:
            found["worker"] = await lives_on(inspector, host, max_age * 1000)
        if scheduler:
            found["scheduler"] = await inspector.leader() is not None
        return found

    found = ask(look)
    healthy = all(found.values())
    output.show({"healthy": healthy, **found}, lambda: _print_health(found))
    return Exit.OK if healthy else Exit.NO


def _print_health(found: dict[str, Any]) -> None:
    message = {
        "redis": ("Redis answers", ""),
        "worker": ("a live worker on this host", "no live worker on this host"),
        "scheduler": ("a scheduler leads", "no scheduler leads"),
    }
    for name, good in found.items():
        sign = output.paint("ok  ", fg="green") if good else output.paint("bad ", fg="red")
        output.say(sign, " ", message[name][0 if good else 1])
