"""Limits: how many jobs of a queue, a task or a key run at once. The exchange obeys them
(`lua/exchange_rules.lua`, `lua/exchange_keys.lua`); here they are announced, set and shown.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from resqpy.base import activejob, codec
from resqpy.base.errors import UsageError
from resqpy.base.keys import split_priority
from resqpy.base.limits import AnyLimit, Rate, key_of, rule_text, texts_by_name
from resqpy.base.model import KeyLimit, RunningLimit
from resqpy.store.connection.client import Arg, Store
from resqpy.store.queues import Parked, decode_name, parked_command, parked_keys, parked_told

_BRACE = "{"  # begins the fields that are no queues
_SLOT, _IS_RATE = "slot:", -2
_FOREIGN = f"{_SLOT}foreign:"  # and a worker id: a place that the leader holds for it
_LOOKED_AT, _BEFORE = 65_536, 4096  # of a job, as in presentable.lua; of a record, before the job
_QUEUE = re.compile(rb'\{"queue":"([^"\\]*)"')
_DIGITS = 19  # beyond those Redis has no number
_CLASS = re.compile(rb'"payload":\{"class":"([^"\\]*)"')
_KINDS = ("queue", "task", "also", "limit", "set", "shut")


async def limit_running(store: Store, queue: str, most: int | None) -> int | None:
    """Limit how many jobs of a queue run at once, or end that; returns the limit before, None: there was none."""
    keys = store.keys
    script_keys = [keys.running_limits, keys.limit_holders(queue), keys.workers, keys.worker("")]
    args = [queue, "" if most is None else most, keys.own("control")]
    before = await store.run("limit_running", [*script_keys, keys.limit_checked(queue)], args)
    return None if before is None else number(before)


async def running_limits(store: Store) -> dict[str, RunningLimit]:
    """The limits of queues, with who runs a job of theirs. Three round trips at most."""
    keys = store.keys
    fields = await _fields(store)
    limits = {name: number(value) for name, value in _by_kind(fields)["queue"].items()}
    limits |= {name: number(value) for name, value in fields.items() if name[:1] != _BRACE}
    if not limits:
        return {}
    holders = await store.look([("SMEMBERS", keys.limit_holders(name)) for name in limits])
    ids = [[*map(decode_name, sorted(some))] for some in holders]
    records = iter(await _beginnings(store, [keys.worker(each) for some in ids for each in some]))
    return {
        name: RunningLimit(most, tuple([each for each in some if _is_of(next(records), name)]))
        for (name, most), some in zip(limits.items(), ids, strict=True)
    }


async def announce(
    store: Store, tasks: Mapping[str, Sequence[AnyLimit]], queues: Mapping[str, int] | None = None
) -> bool:
    """Note what the code of this process says of its tasks, and its config of queues; returns whether anything was
    new.

    Args:
        tasks: all that it has, also those without a limit: what another process said of them is over.
    """
    args: list[Arg] = [len(tasks)]
    for task, limits in tasks.items():
        args += (task, rule_text(task, limits))
    names = texts_by_name(tasks)
    args.append(len(names))
    for name, (most, foreign) in names.items():
        args += (name, most, foreign)
    args.append(len(queues or ()))
    for name, count in (queues or {}).items():
        args += (name, count)
    return bool(
        await store.run(
            "announce_limits",
            [*_names(store), store.keys.workers, store.keys.worker(""), store.keys.limit_foreign],
            [*args, store.keys.own("control")],
        )
    )


async def set_limit(
    store: Store, key: str, most: int | Rate | None, task: str = ""
) -> int | Rate | None:
    """Set how many run at once by hand, or end that; returns what it was before, None: there was nothing."""
    text = "" if most is None else most.text if isinstance(most, Rate) else str(most)
    before = await store.run(
        "set_limit", _names(store), [key, text, task, store.keys.own("control")]
    )
    return None if before is None else Rate.read(decode_name(before)) or number(before)


async def shut(store: Store, key: str, for_ms: int | None) -> int:
    """Let no job under a key begin for so long, or longer where somebody said so; returns until when (ms). None:
    end that; returns until when it was, 0: it was not shut.
    """
    args = [key, "" if for_ms is None else for_ms, store.keys.own("control")]
    return int(await store.run("shut_limit", _names(store), args))


async def take_slot(store: Store, key: str, holder: str, lease_ms: int) -> bool:
    """Take a place of a limit outside of jobs; False: there is none now.

    Raises:
        UsageError: there is no such limit.
    """
    done = await store.run(
        "slot_take", [*_names(store), store.keys.worker("")], [key, holder, lease_ms]
    )
    if done < 0:
        name = key.partition("=")[0]
        what = (
            "a rate, which has no places" if done == _IS_RATE else "the name of no limit of tasks"
        )
        raise UsageError(
            f"{name!r} is {what}; `resqpy limits` shows those that workers have announced"
        )
    return bool(done)


async def keep_slot(store: Store, holder: str, lease_ms: int) -> None:
    """Renew it."""
    await store.call("PEXPIRE", store.keys.limit_lease(holder), lease_ms)


async def end_slot(store: Store, holder: str) -> None:
    """Give it back; what waits for it has its turn."""
    await store.run("slot_end", [store.keys.limit_notes], [holder, store.keys.own("control")])


async def counted_names(store: Store) -> set[str]:
    """The limits under which jobs of foreign workers are counted. One round trip."""
    [flat] = await store.look([("HGETALL", store.keys.limit_foreign)])
    return {*texts_of(flat)}


async def foreign_keys(
    store: Store, worker_ids: Sequence[str], names: Collection[str]
) -> dict[str, list[str]]:
    """The keys of these limits under which foreign workers run a job now. Two round trips."""
    keys = store.keys
    commands: list[tuple[Arg, ...]] = [
        ("GETRANGE", keys.worker(each), 0, _BEFORE + _LOOKED_AT) for each in worker_ids
    ]
    jobs = [_foreign_job(record) for record in await store.look(commands)]
    classes = sorted({name for name, _ in jobs if name})
    if not classes:
        return {}
    kinds = ("task", "also")
    fields = [f"{_BRACE}{kind}}}{name}" for name in classes for kind in kinds]
    said = await store.call("HMGET", keys.running_limits, *fields)
    lines: dict[str, dict[str, str]] = {name: {} for name in classes}
    for field, text in zip(fields, said, strict=True):
        for line in decode_name(text or b"").split("\n"):
            name, _, path = line.partition("\t")
            if name in names:
                lines[field.partition("}")[2]].setdefault(name, path)
    return {
        each: found
        for each, (class_name, args) in zip(worker_ids, jobs, strict=True)
        if (found := [key_of(*line, args) for line in lines.get(class_name, {}).items()])
    }


def _foreign_job(record: bytes) -> tuple[str, Any]:
    """The class of the job in a record, empty: there is none; and its arguments, None: it is too large to be
    read.
    """
    if len(record) > _LOOKED_AT:
        found = _CLASS.search(record)
        return ("" if found is None else decode_name(found[1])), None
    shown = codec.decode_lenient(record)
    job = shown.get("payload") if isinstance(shown, dict) else None
    if not isinstance(job, dict):
        return "", None
    name, args = activejob.class_in(job), job.get("args")
    if isinstance(args, list) and name != job.get("class"):
        args = args[0].get("arguments")  # as they are written: the exchange reads them so
    return (name if isinstance(name, str) else ""), [] if args is None else args


def count_call(
    store: Store, places: Mapping[str, Sequence[str]], lease_ms: int
) -> tuple[str, list[str], list[Arg]]:
    """The fenced script that holds places for foreign workers, or renews them; none: gives them back."""
    args: list[Arg] = [lease_ms, store.keys.own("control")]
    for worker_id, keys in places.items():
        holder = f"{_FOREIGN}{worker_id}"
        text = "".join(f"{each}\n" for each in keys)
        args += (holder, f"{holder}\n{text}" if keys else "")
    return "count_foreign", [store.keys.limit_notes], args


def is_slot(holder: str) -> bool:
    """Whether a place is held outside of jobs."""
    return holder.startswith(_SLOT)


def new_holder() -> str:
    """Who holds one."""
    return f"{_SLOT}{secrets.token_hex(8)}"


async def limits(store: Store) -> dict[str, KeyLimit]:
    """The limits of tasks, and of the keys under which jobs run or are parked. Four round trips at most."""
    keys = store.keys
    all_fields, held, counted, parked = await store.look(
        [
            ("HGETALL", keys.running_limits),
            ("HGETALL", keys.limit_holds),
            ("HGETALL", keys.limit_foreign),
            parked_command(store),
        ]
    )
    fields = _by_kind(texts_of(all_fields))
    waiting = await parked_told(store, parked)
    running, _ = await _running(store, texts_of(held))
    tasks: dict[str, list[str]] = {}
    for task, text in sorted([*fields["task"].items(), *fields["also"].items()]):
        for line in text.split("\n"):
            tasks.setdefault(line.partition("\t")[0], []).append(task)
    names = {*tasks, *fields["set"], *fields["shut"], *running, *(each.key for each in waiting)}
    fields["foreign"] = texts_of(counted)
    return {key: _limit(key, fields, running, waiting, tasks) for key in sorted(names)}


async def parked_now(store: Store) -> list[tuple[Parked, int | None]]:
    """What is parked, uncounted, each with how many more jobs its key lets run now, a rate perhaps one; None: it
    has no limit any more. Places of runs whose record is gone are freed. Few commands for any number of keys, one
    round trip if there is nothing.
    """
    keys = store.keys
    found, flat, all_fields = await store.look(
        [
            parked_command(store),
            ("HGETALL", keys.limit_holds),
            ("HGETALL", keys.running_limits),
        ]
    )
    parked, held, fields = parked_keys(found), texts_of(flat), _by_kind(texts_of(all_fields))
    running, gone = await _running(store, held)
    for worker_id in gone:
        names = [keys.limit_notes, keys.worker("")]
        await store.run("free_places", names, [worker_id, held[worker_id]])
    told: list[tuple[Parked, int | None]] = []
    for each in parked:
        text = _text(each.key, fields)
        room = (
            1 if text and Rate.read(text) else number(text or "") - len(running.get(each.key, ()))
        )
        told.append((each, None if text is None else room))
    return told


async def give_turn(store: Store, some: Sequence[Parked]) -> None:
    """Let workers look at what is parked still."""
    if some:
        members = [f"{each.key}\n{each.queue}" for each in some]
        await store.run("give_turn", _names(store)[1:], [store.keys.own("control"), *members])


async def tell_to_look(store: Store) -> None:
    """Let all workers look for work."""
    await store.call("PUBLISH", store.keys.own("control"), codec.encode_text({"look": True}))


def _text(key: str, fields: Mapping[str, Mapping[str, str]]) -> str | None:
    name = key.partition("=")[0]
    return fields["set"].get(key, fields["set"].get(name, fields["limit"].get(name)))


def _limit(
    key: str,
    fields: Mapping[str, Mapping[str, str]],
    running: Mapping[str, list[str]],
    waiting: Sequence[Parked],
    tasks: Mapping[str, list[str]],
) -> KeyLimit:
    name, text = key.partition("=")[0], _text(key, fields)
    rate, shut = Rate.read(text or ""), fields["shut"]
    until = [number(shut[each]) for each in (key, name) if each in shut]
    mine = [each for each in waiting if each.key == key]
    return KeyLimit(
        None if text is None or rate is not None else number(text),
        tuple(sorted(running.get(key, ()))),
        {each.queue: each.count for each in mine},
        min((each.since_ms for each in mine), default=None),
        tuple(dict.fromkeys(tasks.get(name, ()))),
        key in fields["set"],
        rate,
        max(until, default=None),
        name in fields["foreign"],
    )


async def _running(store: Store, held: Mapping[str, str]) -> tuple[dict[str, list[str]], list[str]]:
    """Who runs a job under a key: whose record is the run that holds its place; and who has no such record."""
    found: dict[str, list[str]] = {}
    gone: list[str] = []
    keys = [
        store.keys.limit_lease(e) if e.startswith(_SLOT) else store.keys.worker(e) for e in held
    ]
    records = await _beginnings(store, keys)
    for (worker_id, note), record in zip(held.items(), records, strict=True):
        run_at, *places = note.rstrip("\n").split("\n")
        if f'"run_at":"{run_at}"'.encode() not in record:
            gone.append(worker_id)
            continue
        for key in places:
            found.setdefault(key, []).append(worker_id.removeprefix(_FOREIGN))
    return found, gone


def _names(store: Store) -> list[str]:
    return [store.keys.running_limits, store.keys.parked, store.keys.limit_notes]


async def _fields(store: Store) -> dict[str, str]:
    [flat] = await store.look([("HGETALL", store.keys.running_limits)])
    return texts_of(flat)


def texts_of(flat: Sequence[bytes]) -> dict[str, str]:
    """A hash as Redis returns it."""
    return {decode_name(n): decode_name(v) for n, v in zip(flat[::2], flat[1::2], strict=True)}


def _by_kind(fields: Mapping[str, str]) -> dict[str, dict[str, str]]:
    kinds: dict[str, dict[str, str]] = {each: {} for each in _KINDS}
    for field, value in fields.items():
        kind, brace, name = field.removeprefix(_BRACE).partition("}")
        if field[:1] == _BRACE and brace and kind in kinds:
            kinds[kind][name] = value
    return kinds


async def _beginnings(store: Store, keys: Sequence[str]) -> list[bytes]:
    """Of records: what the scripts read of them, too. Jobs may be large."""
    return await store.look([("GETRANGE", key, 0, 4095) for key in keys])


def _is_of(record: bytes, queue: str) -> bool:
    """Whether a worker's record is a job of a queue or one of its sub-queues."""
    found = _QUEUE.match(record)
    return found is not None and split_priority(decode_name(found[1]))[0] == queue


def number(value: bytes | str | None) -> int:
    """What a field or key counts; 0: it is somebody else's."""
    try:
        return int(value or 0) if len(value or "") < _DIGITS else 0
    except ValueError:
        return 0
