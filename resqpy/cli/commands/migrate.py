"""`resqpy migrate`."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import click

from resqpy.base.errors import UsageError
from resqpy.base.imports import near_match
from resqpy.base.keys import check_queue_name, split_priority
from resqpy.cli.arguments.flags import MILLISECONDS, Type, option
from resqpy.cli.arguments.session import ask, registered_tasks
from resqpy.cli.arguments.settings import current
from resqpy.cli.group import command
from resqpy.cli.output import printing as output
from resqpy.cli.output.printing import Exit
from resqpy.diagnosis import texts
from resqpy.diagnosis.migrating import (
    Doubt,
    Sides,
    back_words,
    doubts,
    python_name,
    removal_doubts,
    shadow_doubt,
    share_words,
    shown_name,
    side_lines,
    sides,
    unreadable_words,
)
from resqpy.diagnosis.workers import all_workers
from resqpy.engine.inspect.inspector import Resque
from resqpy.store import workers
from resqpy.store.migrations import (
    ALL,
    OTHERS,
    Migration,
    migrate as set_rule,
    migrations,
    unreadable_migrations,
)
from resqpy.store.queues import lengths

_OVER, _MAX_ERRORS = 100, 500


def _share(value: Any) -> int:
    try:
        number = float(str(value).removesuffix("%"))
    except ValueError:
        number = -1
    if not 0 <= number <= 100:
        raise ValueError(f"{value!r} is not a share from 0% to 100%")
    share = round(number * 100)
    if share / 100 != number:
        raise ValueError(f"{value!r} is finer than 0.01%")
    return share


def _language(value: Any) -> str:
    if not re.fullmatch(r"[\w-]+", str(value)):
        raise ValueError(f"{value!r} is not the name of a language, such as ruby")
    if str(value) == "python":
        raise ValueError("'python' is this side: name the other, such as ruby")
    return str(value)


def _queue(value: Any) -> str:
    name = check_queue_name(value)
    if split_priority(name)[0] != name:
        raise ValueError(f"{name!r} is a sub-queue; a class moves with all of its queue")
    return name


SHARE = Type("share", _share)


@command()
@click.argument("names", nargs=-1, metavar="[CLASS] [status]")
@option("--canary", type=SHARE, metavar="SHARE", help="So many of its jobs run here, such as 5%.")
@option("--shadow", type=SHARE, is_flag=False, flag_value="100%", metavar="[SHARE]",
        help="None of them runs here, but copies do, without effects, to be compared.")  # fmt: skip
@option("--all", "everything", is_flag=True, help="All of them run here.")
@option("--back", is_flag=True, help="None of them runs here.")
@option("--remove", is_flag=True, help="Remove the rule: whoever works the queue takes them.")
@option("--to", "language", type=Type("language", _language), metavar="LANGUAGE",
        help="Where the others run: ruby, node, php, … (once, unless one language works the queue).")  # fmt: skip
@option("--queue", type=Type("queue", _queue), metavar="NAME",
        help="Where the jobs wait (needed once, if the project has no such task).")  # fmt: skip
@option("--over", type=click.IntRange(1, 10**9), metavar="N",
        help=f"Judge so many runs here (default: {_OVER}).")  # fmt: skip
@option("--max-errors", type=SHARE, metavar="SHARE",
        help=f"Go back by itself where more fail (default: {_MAX_ERRORS / 100:g}%; 100%: never).")  # fmt: skip
@option("--max-time", "max_ms", type=MILLISECONDS, metavar="DURATION",
        help="Go back by itself where they run longer on average (default: 0s: however long).")  # fmt: skip
@option("--anyway", is_flag=True,
        help="Also where jobs would wait for nobody, or the share is not kept.")  # fmt: skip
def migrate(
    *, names: Sequence[str], canary: int | None, shadow: int | None, everything: bool, back: bool, remove: bool,
    anyway: bool, **given: Any,
) -> int:  # fmt: skip
    """Move a class of jobs from another language to this one while it runs, and back.

    Of the jobs of CLASS in its queue a share runs here; workers of resqpy send the others, unchanged, to
    QUEUE.LANGUAGE (mail.ruby), which the workers of the other language work instead of the queue. By its arguments
    a job, also when it is retried, is always on the same side. CLASS is the name in the jobs (Billing::Charge) or
    as it would be here (billing.charge); '*' stands for all other classes of a --queue.

    With --shadow all jobs go to the other language, and copies of all of them, or of a share, run here as well, if
    the task says shadow=True: what they enqueue is noted, and how they end is compared with the other side.

    Without an option it shows what is known of both sides. Exit code 6: nothing was done, because jobs would wait
    for nobody, fail or be in other hands, the share would not be kept, or a task does not say shadow=True
    (--anyway); or the rule has doubts, or fell back, or jobs failed only in the shadow.
    """
    wanted = (
        canary,
        ALL if everything else None,
        0 if back else None,
        None if shadow is None else 0,
    )
    shares = [share for share in wanted if share is not None]
    name, *more = [each for each in names if each != "status"] or [""]
    if more or len(shares) + remove > 1:
        raise UsageError(
            "give one class, and one of --canary, --shadow, --all, --back and --remove"
        )
    asked = {key: value for key, value in given.items() if value is not None}
    if not shares and asked.keys() - {"queue"}:
        raise UsageError("--to, --over and --max-… go with --canary, --shadow, --all or --back")
    if not (shares or remove):
        return _show_status(name, asked.get("queue"))
    if not name:
        raise UsageError("which class? resqpy migrate CLASS …")
    if remove:
        return _remove(name, asked.get("queue"), anyway=anyway)
    if shadow is not None and not shadow:
        raise UsageError("--shadow 0%: give a share of its jobs, or --back to end it")
    if shadow and name == "*":
        raise UsageError("--shadow is for one class: '*' stands for several")
    return _set(name, shares[0], {**asked, "shadow": shadow or 0}, anyway=anyway)


def _named(name: str, rules: Collection[str], known: Sequence[str], queue: str | None) -> str:
    """A class by its name in jobs, or by the name that it would have here."""
    if name == "*":
        of_others = [each for each in rules if each.startswith(OTHERS)]
        if queue is None and len(of_others) == 1:
            return of_others[0]
        if queue is None:
            raise UsageError("'*' stands for all other classes of a queue: --queue NAME")
        return f"{OTHERS}{queue}"
    names = sorted({*rules, *known})
    meant = [each for each in names if python_name(each) == name and each != name]
    if name in names or len(meant) != 1:
        return name
    return meant[0]


async def _only_language(resque: Resque, queue: str) -> str:
    """That of the workers which work a queue now."""
    now_ms = await resque.now_ms()
    found = {e.language for e in await all_workers(resque) if e.lives(now_ms) and e.works(queue)}
    if len(languages := found - {"python", "?"}) == 1:
        return languages.pop()
    raise UsageError(f"where do the other jobs of {queue!r} run? --to ruby, node, php, …")


def _set(name: str, share: int, given: dict[str, Any], *, anyway: bool) -> int:
    tasks = {e.name: e for e in registered_tasks()} if current().has_project else {}
    project = {each.name: each.queue for each in tasks.values()}

    async def look(resque: Resque) -> tuple[str, Migration, list[Doubt]]:
        rules = await migrations(resque.store)
        known = [*project, *await workers.known_tasks(resque.store)]
        found = _named(name, rules, known, given.get("queue"))
        rule = rules.get(found)
        if rule is None:
            if found not in known and name != "*" and not anyway:
                hint = near_match(found, sorted({*known, *rules}))
                words = f"no task is called {found!r}{hint}; if that is in the jobs: --anyway"
                raise output.fail(Exit.NOT_FOUND, words)
            queue = given.get("queue") or project.get(found)
            if queue is None:
                raise UsageError(f"in which queue do jobs of {found!r} wait? --queue NAME")
            language = given.get("language") or await _only_language(resque, queue)
            rule = Migration(queue, language, 0, _OVER, _MAX_ERRORS, 0)
        before, rule = rule, replace(rule, share=share, counts={}, **given)
        if (before.queue, before.language) != (rule.queue, rule.language):
            words = f"{shown_name(found)} moves in {before.queue!r} with {before.language}, and nowhere else"
            raise UsageError(f"{words}: --remove that rule first")
        told = [await shadow_doubt(resque, found, before)] if before.shadow and share else []
        rules = {**rules, found: rule}
        told += await doubts(resque, found, rules, await all_workers(resque))
        return found, rule, [each for each in told if each is not None]

    found, rule, told = ask(look)
    reasons = [each.words for each in told if each.refuses]
    if rule.shadow and not (found in tasks and tasks[found].shadow):
        reasons.append(_unready(found, known_here=found in tasks))
    _refuse(reasons, anyway=anyway)
    ask(lambda resque: set_rule(resque.store, found, rule))
    told_json = {"class": found, "share": share / 100, "shadow": rule.shadow / 100}
    told_json["doubts"] = [each.words for each in told]
    output.show(told_json, lambda: output.say(share_words(found, rule)))
    for each in told:
        output.warn(each.words)
    return Exit.OK


def _unready(name: str, *, known_here: bool) -> str:
    """Why a class must not run in the shadow."""
    if known_here:
        return (
            f"the task {name!r} does not say shadow=True: a mail that it sends would be sent twice; let it ask "
            "current_run.get().shadow before that, then say so"
        )
    return f"there is no task {name!r} in this project that says shadow=True; copies run only where there is one"


def _refuse(reasons: Sequence[str], *, anyway: bool) -> None:
    if reasons and not anyway:
        words = f"nothing was done: {'; '.join(reasons)} (--anyway: all the same)"
        raise output.fail(Exit.NO, words)


def _seen(name: str, queue: str | None) -> tuple[list[Sides], dict[str, str]]:
    """One rule, or all, or those of a queue; and the texts of those that nobody can read."""

    async def look(resque: Resque) -> tuple[list[Sides], dict[str, str]]:
        rules, unread = await migrations(resque.store), await unreadable_migrations(resque.store)
        if name and (odd := _named(name, [*rules, *unread], (), queue)) in unread:
            return [], {odd: unread[odd]}
        found = [_found(name, rules, queue)] if name else [*rules]
        shown = [each for each in found if queue in (None, rules[each].queue)]
        return [await sides(resque, each, rules) for each in shown], {} if name else unread

    return ask(look)


def _found(name: str, rules: Mapping[str, Migration], queue: str | None) -> str:
    found = _named(name, rules, (), queue)
    if found in rules and queue in (None, rules[found].queue):
        return found
    where = "" if queue is None else f" in {queue!r}"
    hint = f", but in {rules[found].queue!r}" if found in rules else near_match(found, [*rules])
    words = f"there is no rule for {shown_name(found)!r}{where}{hint}: resqpy migrate status"
    raise output.fail(Exit.NOT_FOUND, words)


def _remove(name: str, queue: str | None, *, anyway: bool) -> int:
    async def look(resque: Resque) -> tuple[str, Migration, list[Doubt], int] | str:
        rules, unread = await migrations(resque.store), await unreadable_migrations(resque.store)
        if (odd := _named(name, [*rules, *unread], (), queue)) in unread:
            return odd
        found = _found(name, rules, queue)
        told = await removal_doubts(resque, found, rules, await all_workers(resque))
        [waiting] = await lengths(resque.store, [rules[found].target])
        return found, rules[found], told, waiting

    seen = ask(look)
    if isinstance(seen, str):
        ask(lambda resque: set_rule(resque.store, seen, None))
        shown = {"class": seen, "removed": True, "waiting": 0}
        output.show(shown, lambda: output.say(f"{shown_name(seen)}: no rule any more"))
        return Exit.OK
    found, rule, told, waiting = seen
    _refuse([each.words for each in told], anyway=anyway)
    ask(lambda resque: set_rule(resque.store, found, None))
    output.show(
        {"class": found, "removed": True, "waiting": waiting},
        lambda: output.say(f"{shown_name(found)} in {rule.queue!r}: no rule any more"),
    )
    for each in told:
        output.warn(each.words)
    if waiting and not told:
        left = f"{texts.counted(waiting, 'job')} in {rule.target!r}"
        output.warn(f"{left} remain there for the workers of {rule.language}")
    return Exit.OK


def _show_status(name: str, queue: str | None) -> int:
    found, unread = _seen(name, queue)
    odd = {each: unreadable_words(each, text) for each, text in unread.items()}

    def show() -> None:
        for each in found:
            output.say(output.paint(share_words(each.name, each.rule), bold=True))
            back = [back_words(each.name, each.rule)] if each.rule.back else []
            for line in [*side_lines(each), *back, *(doubt.words for doubt in each.doubts)]:
                output.say(f"  {line}")
        for words in odd.values():
            output.say(words)
        if not found and not odd:
            output.say("no class moves")

    told = [{"class": each, "rule": unread[each], "doubts": [odd[each]]} for each in odd]
    output.show([*(each.as_json() for each in found), *told], show)
    bad = odd or any(each.doubts or each.rule.back or each.is_worse_here for each in found)
    return Exit.NO if bad else Exit.OK
