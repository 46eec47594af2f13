"""Bytes that real Ruby and Node programs left in Redis, to be replayed into a test's Redis.

The files under `tests/foreign/recorded/` were cut from transcripts of resque 3.0,
resque-scheduler 5.0 and node-resque 9.7 at work (`*.redisrb5`: with redis-rb 5 and json
2.21). In them `NS:` at the start of a key is the namespace, and HOST, PID, PID2, … stand
for names that differ from machine to machine. Nothing here knows resqpy.
"""

from __future__ import annotations

import base64
import json
import re
from functools import cache
from pathlib import Path
from typing import Any

RECORDED = Path(__file__).parent.parent / "foreign" / "recorded"
HOST = "recorded-host"
FIRST_PID = 4000  # PID is 4001, PID2 is 4002, …; each further part adds PIDS_A_PART
PIDS_A_PART = 100

# Whole installations: the parts are replayed one after the other, each with its own pids.
# Lists grow, sets and hashes are merged, and a later string replaces an earlier one.
INSTALLATIONS: dict[str, tuple[str, ...]] = {
    "ruby-installation": (
        "node-10-reads-ruby",  # two busy workers, one on the queue `a:b`; scheduler lock
        "ruby-02-worker-star",  # a busy worker on `*`
        "ruby-02-worker-loop",  # an idle worker
        "ruby-01-enqueue.redisrb5",  # jobs of all kinds
        "ruby-04-requeue",  # a failure that was retried
        "ruby-05-delayed-api",  # delayed jobs, two of them equal
        "ruby-07-cron-run",  # schedules and when they fired last
        "ruby-03-failure",  # failures of all kinds
    ),
    "node-installation": (
        "ruby-10-reads-node",  # a busy Worker and a busy MultiWorker; leader lock
        "node-02-worker-multi",  # a MultiWorker with two workers
        "node-02-worker-star",  # a busy worker on `*`
        "node-01-enqueue",  # jobs of all kinds
        "node-05-delayed-api",  # delayed jobs
        "node-09-plugin-queuelock",  # locks of waiting jobs, one under a key of its own
        "node-09-plugin-joblock",  # the lock of a running job
        "node-09-plugin-retry",  # the keys of a job that is retried
        "node-08-workers-force",  # a failure by forceCleanWorker
        "node-03-failure",  # failures of all kinds
    ),
}

Command = tuple[bytes, ...]


def recordings() -> list[str]:
    """Name everything that can be loaded and replayed."""
    cut = [path.stem for path in RECORDED.glob("*.json") if "keys" in _document(path.stem)]
    return sorted([*cut, *INSTALLATIONS])


def load_recorded(name: str, namespace: str = "resque", host: str = HOST) -> list[Command]:
    """Return the Redis commands that rebuild a recorded state, ready to be sent."""
    commands: list[Command] = []
    for part, recording in enumerate(INSTALLATIONS.get(name, (name,))):
        fill = _Fill(namespace, host, FIRST_PID + part * PIDS_A_PART)
        for entry in _document(recording)["keys"]:
            commands += _commands(entry, fill)
    return commands


async def replay(redis: Any, name: str, namespace: str = "resque", host: str = HOST) -> None:
    """Rebuild a recorded state in a Redis, in one transaction.

    Args:
        redis: an async redis-py client.
        name: one of `recordings()`, say `ruby-installation` or `node-03-failure`.
        namespace: the prefix of the keys.
        host: what stands in worker names for the machine of the recording.
    """
    async with redis.pipeline(transaction=True) as pipe:
        for command in load_recorded(name, namespace, host):
            pipe.execute_command(*command)
        await pipe.execute()


def recorded_values(kind: str, host: str = HOST) -> dict[str, bytes]:
    """Return single values with their names, for parametrized tests.

    Args:
        kind: `job`, `poison` (odd or broken jobs), `delayed`, `working` (worker records),
            `failed`, `ping`, `schedule`, `broken schedule`, or `time` (spellings of the
            instant 1795220840).
        host: as in `replay`.
    """
    fill = _Fill("resque", host, FIRST_PID)
    return {entry["name"]: fill.value(_raw(entry)) for entry in _document("values")[kind]}


def recorded_table(name: str) -> dict[str, Any]:
    """Return a table of what Ruby and Node made of many inputs.

    Args:
        name: `cron-formats` (what rufus-scheduler accepts, with the next three times or the
            seconds; None where it refuses) or `json-writing` (the text of one value in
            Ruby with json 2.6, `rb4`, with json 2.21, `rb5`, and in Node).
    """
    return dict(_document(name))


class _Fill:
    """Puts real names in the place of NS:, HOST and PID."""

    def __init__(self, namespace: str, host: str, first_pid: int) -> None:
        self._prefix = f"{namespace}:".encode() if namespace else b""
        self._host = host.encode()
        self._first_pid = first_pid

    def key(self, key: str) -> bytes:
        prefix, bare = b"", key
        while bare.startswith("NS:"):  # twice in resque-scheduler's lock
            prefix, bare = prefix + self._prefix, bare.removeprefix("NS:")
        return prefix + self.value(bare.encode())

    def value(self, raw: bytes) -> bytes:
        with_pids = re.sub(rb"\bPID(\d*)\b", self._pid, raw)
        return re.sub(rb"\bHOST\b", lambda _: self._host, with_pids)

    def _pid(self, found: re.Match[bytes]) -> bytes:
        return str(self._first_pid + int(found[1] or 1)).encode()


def _commands(entry: dict[str, Any], fill: _Fill) -> list[Command]:
    key = fill.key(entry["key"])
    commands = [(_WRITE[entry["type"]], key, *_values(entry, fill))]
    if "ttl" in entry:
        commands.append((b"EXPIRE", key, str(entry["ttl"]).encode()))
    return commands


_WRITE = {"string": b"SET", "list": b"RPUSH", "set": b"SADD", "hash": b"HSET", "zset": b"ZADD"}


def _values(entry: dict[str, Any], fill: _Fill) -> list[bytes]:
    value = entry["value"]
    if entry["type"] == "string":
        return [fill.value(value.encode())]
    if entry["type"] == "hash":
        value = [item for pair in value for item in pair]
    if entry["type"] == "zset":
        value = [item for member, score in value for item in (score, member)]
    return [fill.value(item.encode()) for item in value]


def _raw(entry: dict[str, str]) -> bytes:
    if "base64" in entry:
        return base64.b64decode(entry["base64"])
    return entry["text"].encode()


@cache
def _document(name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((RECORDED / f"{name}.json").read_text("utf-8"))
    return document
