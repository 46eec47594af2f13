"""What holds jobs back: limits of queues and tasks, which can be changed, and locks of plugins."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import cast

from starlette.responses import Response

from resqpy.base import codec
from resqpy.base.errors import UsageError
from resqpy.base.model import KeyLimit
from resqpy.base.when import parse_duration
from resqpy.diagnosis import limiting
from resqpy.diagnosis.limiting import LimitView, Of, most_text
from resqpy.store import locks
from resqpy.web import changing
from resqpy.web.asking import Refusal, raw_of, segment
from resqpy.web.pages.parts import back, fields_of, number_in, part_of
from resqpy.web.rendering import page
from resqpy.web.views import Shown, cut
from resqpy.web.visit import Visit

_LOCKS = 200
_ROWS = 200


@dataclass(frozen=True)
class LimitRow:
    """A limit.

    Attributes:
        of: the queue, or the limit's name and perhaps one of its keys, as it is shown.
        name: as it is.
        most: how many, as people type it.
        full: no more may run now.
        foreign: how many of those that run are of other languages, in words.
    """

    of: str
    name: str
    most: str
    running: int
    waiting: int
    full: bool
    is_queue: bool
    foreign: str
    by_hand: bool = False
    since_ms: int | None = None
    shut_ms: int | None = None


async def limits_page(visit: Visit) -> Response:
    """The limits, those first for which jobs wait."""
    return await _page(visit)


async def _page(
    visit: Visit, status: int = 200, error: str = "", fields: Mapping[str, str] | None = None
) -> Response:
    """Locks have no index, so they are looked for on request only, by who may see arguments: their names have
    some.

    Args:
        error: why nothing was changed.
        fields: what was typed then.
    """
    shown = Shown(visit)
    wanted = shown.arguments and "locks" in visit.request.query_params
    views = await limiting.limit_views(visit.resque)
    rows = [_row(shown, each) for each in views]
    rows.sort(key=lambda each: (-each.waiting, not each.full, each.of))
    found = await locks.some(visit.resque.store, _LOCKS + 1) if wanted else None
    held = (
        None
        if found is None
        else [
            (_lock_id(name), _lock_name(shown, name), locks.ends_ms(found[name]))
            for name in sorted(found)[:_LOCKS]
        ]
    )
    return page(
        visit, "limits", status, rows=rows[:_ROWS], total=len(rows), locks=held,
        more=found is not None and len(found) > _LOCKS, may_see=shown.arguments,
        parked=sum(_parked(views).values()), error=error, fields=fields or {},
    )  # fmt: skip


def _lock_id(name: str) -> str:
    """Stands for the lock: its name may have secrets in it, which are not shown."""
    return codec.digest(raw_of(name))


async def free_lock(visit: Visit) -> Response:
    """Remove a lock whose job is gone."""
    wanted = part_of(visit, "id")
    name = next((each for each in await visit.resque.locks() if _lock_id(each) == wanted), None)
    if name is None:
        return back(visit, "/limits", "gone", kept={"locks": 1})
    what, act = f"lock {_lock_name(Shown(visit), name)}", partial(visit.resque.del_lock, name)
    done = await changing.audited(visit, "free", what, act)
    return back(visit, "/limits", "freed" if done else "gone", kept={"locks": 1})


def _row(shown: Shown, view: LimitView) -> LimitRow:
    limit, (of, key, _) = view.of_tasks, view.name.partition("=")  # the value of an input follows
    label = view.name if limit is None else shown.text(view.name)
    if limit is not None and key and not shown.arguments:
        label = f"{cut(of)}=…"
    known = KeyLimit(None) if limit is None else limit
    return LimitRow(
        label, view.name, "removed" if view.most is None else most_text(view.most), len(view.running),
        view.waiting, view.is_full, is_queue=limit is None, foreign=view.foreign_words,
        by_hand=known.by_hand,
        since_ms=known.since_ms, shut_ms=known.shut_ms,
    )  # fmt: skip


def _parked(views: list[LimitView]) -> Counter[str]:
    """How many jobs wait for limits of tasks, by queue."""
    counts = Counter[str]()
    for each in views:
        counts.update({} if each.of_tasks is None else each.of_tasks.parked)
    return counts


def _lock_name(shown: Shown, name: str) -> str:
    """Node's and ours end with the arguments as JSON, Ruby's with their texts."""
    head, bracket, rest = name.partition("[")
    args = codec.decode_lenient(f"[{rest}".encode("utf-8", "replace")) if bracket else None
    return shown.text(name) if args is None else f"{cut(head)}{shown.brief([args])}"


# -- one limit --


async def change_page(visit: Visit) -> Response:
    """One limit, with what can be done with it."""
    made = await _change_page(visit, part_of(visit, "name"), visit.request.path_params["of"])
    if made is None:
        raise Refusal(404, "There is no such limit", "It was removed, or its name is another.")
    return made


async def _change_page(
    visit: Visit, name: str, of: str, status: int = 200, error: str = ""
) -> Response | None:
    view = await limiting.find_limit(visit.resque, name, cast("Of", of))
    if view is None:
        return None
    limit, unbound = view.of_tasks, await limiting.unbound_by(visit.resque, view)
    return page(
        visit, "limit", status, row=_row(Shown(visit), view), error=error,
        running=[cut(each) for each in view.running[:_ROWS]], tasks=[] if limit is None else limit.tasks,
        parked={} if limit is None else limit.parked, unbound=_sentence(unbound.removeprefix("; ")),
    )  # fmt: skip


def _sentence(words: str) -> str:
    return f"{words[:1].upper()}{words[1:]}." if words else ""


async def change(visit: Visit) -> Response:
    """Set, remove, shut or open a limit; if that can't be, the page says why and keeps what was typed."""
    verb, fields = visit.request.path_params["verb"], await fields_of(visit)
    if verb not in ("set", "remove", "shut", "open"):
        raise Refusal(404, "There is no such page")
    name, of = fields.get("name", "").strip(), fields.get("of", "")
    try:
        return await _change(visit, verb, name, cast("Of", of), fields)
    except UsageError as error:
        words = _sentence(str(error))
        made = await _change_page(visit, name, of, 422, words)
        return made or await _page(visit, 422, words, fields)


async def _change(
    visit: Visit, verb: str, name: str, of: Of, fields: Mapping[str, str]
) -> Response:
    if of not in ("", "queue", "task"):
        raise UsageError(f"{of[:60]!r} is neither a queue nor a task")
    if verb == "set":
        most = limiting.read_most(fields.get("most", ""))
        made = await changing.set_limit(visit, name, most, of, new="new" in fields)
        of, name = "queue" if made.is_queue else "task", made.name
    elif verb == "remove":
        await changing.remove_limit(visit, name, of)
        return back(visit, "/limits", "unlimited")
    elif verb == "shut":
        await changing.shut_limit(visit, name, parse_duration(fields.get("duration", "")))
    else:
        await changing.open_limit(visit, name)
    return back(visit, f"/limits/{of}/{segment(name)}", {"set": "limited"}.get(verb, verb))


# -- what is parked --


def _queue(visit: Visit) -> str | None:
    """The one whose jobs are to be put back; None: all."""
    return part_of(visit, "name") if "name" in visit.request.path_params else None


async def put_back_page(visit: Visit) -> Response:
    """Ask before jobs that wait for limits are put back into their queues."""
    queue, parked = _queue(visit), _parked(await limiting.limit_views(visit.resque))
    count = sum(parked.values()) if queue is None else parked[queue]
    return page(visit, "limits_put_back", queue=queue, count=count)


async def put_back(visit: Visit) -> Response:
    """Put them back, if their number is the one that was confirmed."""
    fields = await fields_of(visit)
    typed, expected = (
        fields.get("typed", "").replace(",", "").strip(),
        number_in(fields, "expected"),
    )
    if typed != str(expected):
        raise Refusal(400, "The number is not the one that was asked for", f"You typed {typed!r}.")
    count = await changing.put_back_parked(visit, _queue(visit))
    return back(visit, "/limits", "put_back", count)
