"""`resqpy leave`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from resqpy.cli.arguments.flags import option
from resqpy.cli.arguments.session import ask
from resqpy.cli.arguments.settings import current
from resqpy.cli.group import command
from resqpy.cli.output import printing as output
from resqpy.cli.output.printing import Exit
from resqpy.diagnosis import texts

if TYPE_CHECKING:
    from resqpy.diagnosis.leaving import Left
    from resqpy.engine.inspect.inspector import Resque

_SHOWN = 10  # names of a kind
_JOBS = {
    "parked": "waited for a limit",
    "claimed": "were due, while their enqueue hooks ran",
    "lost": "were lost with workers that died",
}


@command(destroys=True)
@option("--dry-run", is_flag=True, help="Only show what would be put back, and what would be left.")
@option(
    "--anyway",
    is_flag=True,
    help="Also while processes of resqpy run, which may take jobs out again.",
)
def leave(*, dry_run: bool, anyway: bool) -> int:
    """Go back to plain Resque: put all jobs where every worker finds them, and show what is left of resqpy.

    Jobs that wait for a limit, were being enqueued, or were lost with their workers go to their queues. Nothing is
    deleted: what others don't obey and the keys of resqpy are listed. Stop all processes of resqpy before. Exit
    code 6: some of them run, or jobs are left that only resqpy finds.
    """
    from resqpy.cli.arguments.session import load_place
    from resqpy.diagnosis.leaving import Leaving
    from resqpy.framework.config.config import scheduler_options

    options = scheduler_options(load_place(current()).config)

    async def look(resque: Resque) -> Left:
        return await Leaving(resque, options).look()

    async def put_back(resque: Resque) -> tuple[dict[str, int], Left, list[str]]:
        leaving = Leaving(resque, options)
        done = await leaving.put_back()
        return done, await leaving.look(), leaving.errors

    left = ask(look)
    if left.running and not (dry_run or anyway):
        words = f"{left.running} of this installation run: stop them first (or --anyway)"
        raise output.fail(Exit.NO, words)
    if left.leader and not dry_run:
        raise output.fail(Exit.NO, f"the scheduler {left.leader} of resqpy leads: stop it first")
    done, errors = dict.fromkeys(left.jobs, 0), list[str]()
    if not dry_run:
        output.confirm(f"Put {texts.counted(sum(left.jobs.values()), 'job')} back?")
        done, left, errors = ask(put_back)
    shown = {"put_back": done, "left": left.as_json(), "errors": errors, "dry_run": dry_run}
    output.show(shown, lambda: _print(done, left, dry_run=dry_run))
    for each in errors:
        output.warn(each)
    if left.running:
        output.warn(f"{left.running} of this installation run, and may take jobs out again")
    good = not (left.running and not anyway) and (dry_run or not any(left.jobs.values()))
    return Exit.OK if good else Exit.NO


def _print(done: dict[str, int], left: Left, *, dry_run: bool) -> None:
    moved = left.jobs if dry_run else done
    rows = [
        (words, moved[kind], 0 if dry_run else left.jobs[kind]) for kind, words in _JOBS.items()
    ]
    heads = ("jobs that", "would be put back" if dry_run else "put back", "left")
    output.table(heads, rows, empty="", right=heads[1:])
    output.say()
    unobeyed = [
        (each.kind, each.number, each.words, texts.named(each.names, _SHOWN))
        for each in left.unobeyed
    ]
    output.table(
        ("not obeyed by others", "number", "what happens", "which"),
        unobeyed,
        empty="nothing is left that others don't obey",
        right=("number",),
    )
    output.say()
    output.table(
        ("keys of resqpy", "number"),
        left.keys.items(),
        empty="no keys of resqpy are left",
        right=("number",),
    )
