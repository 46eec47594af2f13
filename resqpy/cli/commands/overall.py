"""`resqpy info`, `stats`, `leader`, `pause`, `resume`: the installation as a whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from resqpy.cli import output, views
from resqpy.cli.group import command
from resqpy.cli.options import option
from resqpy.cli.session import ask, load_place
from resqpy.cli.settings import current
from resqpy.diagnosis import texts

if TYPE_CHECKING:
    from resqpy.diagnosis.workers import SeenWorker
    from resqpy.engine.inspector import Details
    from resqpy.engine.resque import Resque
    from resqpy.store.unregistered import Unregistered


@command()
@option("--every", is_flag=True, help="Also of workers long gone; it looks at every key.")
def stats(*, every: bool) -> None:
    """Show the counters: processed, failed, and both for each worker."""

    async def look(resque: Resque) -> dict[str, int]:
        return await resque.stats() if every else (await resque.details())["stats"]

    found = dict(sorted(ask(look).items()))
    output.show(
        found,
        lambda: output.table(
            ("counter", "number"),
            [(name, f"{number:,}") for name, number in found.items()],
            empty="no counters",
            right=("number",),
        ),
    )


@command()
def leader() -> None:
    """Show who leads: the schedulers' locks of all three languages.

    It warns of a lock that never ends, of two leaders at once, and of schedules that rest while resqpy
    leads because only a Ruby process knows them. It looks at every key of the database, in steps.
    """
    from resqpy.diagnosis.leaders import ruby_faults
    from resqpy.store.leader import LeaderLock, faults, standing

    settings = current()
    config = load_place(settings).config

    async def look(resque: Resque) -> tuple[list[LeaderLock], list[str]]:
        locks = await standing(resque.store, config.scheduler.ruby_lock_prefix)
        return locks, [*faults(locks), *await ruby_faults(resque.store, locks)]

    found, wrong = ask(look)
    output.show(
        [
            {
                "language": lock.language,
                "leader": lock.holder,
                "held_by_resqpy": lock.ours,
                "ttl_ms": lock.ttl_ms,
                "key": lock.key,
            }
            for lock in found
        ],
        lambda: output.table(
            ("lock of", "leader", "ends"), [_leader_cells(lock) for lock in found], empty=""
        ),
    )
    for words in wrong:
        output.warn(words)


def _leader_cells(lock: Any) -> tuple[str, str, str]:
    if lock.holder is None:
        return lock.language, "nobody", "-"
    who = f"{lock.holder} (resqpy)" if lock.ours else lock.holder
    ends = "never!" if lock.ttl_ms is None else f"in {texts.duration(lock.ttl_ms)}"
    return lock.language, who, ends


@command()
@option("--prometheus", is_flag=True, help="Print metrics in the text format of Prometheus.")
def info(*, prometheus: bool) -> None:
    """Show the whole at a glance: queues, workers, failed and delayed jobs, the leader.

    Also how many workers are not registered and have something on record, as far as some ten thousand keys
    show it; `resqpy workers` names them, and `resqpy doctor` looks at all keys.
    """
    from resqpy.store import unregistered

    if prometheus:
        _print_metrics()
        return

    async def look(resque: Resque) -> tuple[Details, bool, Unregistered]:
        from resqpy.store.overview import is_paused

        others = await unregistered.look(resque.store)
        return await resque.details(), await is_paused(resque.store), others

    details, paused, found = ask(look)
    others = len(found.records)
    shown = _info_json(details, paused=paused) | {"unregistered": others}
    output.show(shown, lambda: print_info(details, paused=paused, unregistered=others))
    views.tell_how_far(everything=found.everything)


def _print_metrics() -> None:
    from resqpy.base.prometheus import render
    from resqpy.framework.metrics import count_all, metrics_of
    from resqpy.store.overview import Numbers

    async def look(resque: Resque) -> Numbers:
        return await count_all(resque.store)

    output.say_block(render(metrics_of(ask(look))).decode())


def _info_json(details: Details, *, paused: bool) -> dict[str, Any]:
    working = [work for work in details["workers"].values() if work is not None]
    counters = details["stats"]
    return {
        "queues": details["queues"],
        "waiting": sum(details["queues"].values()),
        "workers": len(details["workers"]),
        "working": len(working),
        "delayed_times": details["delayed"],
        "failed_jobs": details["failed"],
        "processed": counters["processed"],
        "failures": counters["failed"],
        "leader": details["leader"],
        "paused": paused,
    }


def print_info(details: Details, *, paused: bool, unregistered: int = 0) -> None:
    """Print it for people."""
    shown = _info_json(details, paused=paused)
    output.properties(
        {
            "waiting": output.counted(shown["waiting"], "job"),
            "workers": f"{shown['workers']:,}, {shown['working']:,} at work"
            + (", all paused" if paused else "")
            + (
                f"; {unregistered:,} more on record but not registered: see resqpy workers"
                * bool(unregistered)
            ),
            "processed": f"{shown['processed']:,}, {shown['failures']:,} failed",
            "failed list": output.counted(shown["failed_jobs"], "job"),
            "delayed": f"at {output.counted(shown['delayed_times'], 'time')}",
            "leader": shown["leader"] or "nobody: periodic tasks and delayed jobs don't run",
        }
    )
    output.say()
    sizes = sorted(details["queues"].items(), key=lambda pair: -pair[1])
    rows = [(name, views.length(length)) for name, length in sizes]
    output.table(("queue", "jobs"), rows, empty="no queues", right=("jobs",))


@command()
def pause() -> None:
    """Pause all workers, Ruby's and resqpy's: they finish what they run, and take nothing more."""
    _set_paused(paused=True)


@command()
def resume() -> None:
    """Let all workers work again, after `resqpy pause`."""
    _set_paused(paused=False)


def _set_paused(*, paused: bool) -> None:
    from resqpy.diagnosis.workers import all_workers, pause_words, unbound_by_pause
    from resqpy.store import overview

    async def do(resque: Resque) -> tuple[bool, list[SeenWorker]]:
        changed = await (overview.pause if paused else overview.resume)(resque.store)
        found = await all_workers(resque) if paused else []
        return changed, unbound_by_pause(found, resque.clock.now_ms())

    changed, unbound = ask(do)
    words = "paused" if paused else "resumed"
    output.show(
        {"paused": paused, "changed": changed},
        lambda: output.say(f"all workers {words}" if changed else f"they were {words} already"),
    )
    if unbound:
        output.warn(pause_words(unbound))
