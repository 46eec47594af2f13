"""Jobs of Ruby's resque-status, `[uuid, options]`: their status moves as where Ruby runs them. No extra is needed.

    # tasks/reports.py
    @task(name="ReportJob", queue="statused", middleware=[ResqueStatus])
    async def report(uuid: str, options: dict, /):
        for number in range(10):
            await at(number, 10, "rendering")

A status is made by Ruby's `create`; where there is none, or it has expired, nothing is written.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from resqpy.base import codec
from resqpy.base.clock import SYSTEM_CLOCK
from resqpy.base.errors import StoreError, told
from resqpy.base.json_rules import member_text, replace_member
from resqpy.engine.run import Run, current_run
from resqpy.framework.api.api import api
from resqpy.framework.tasks.failures import JobFailure
from resqpy.framework.tasks.middleware import Middleware, TaskCall

_log = logging.getLogger("resqpy.contrib.resque_status")


class Killed(Exception):
    """Ruby's `Resque::Plugins::Status::Hash.kill` has asked for the end of this job: it has not failed."""


class ResqueStatus(Middleware):
    """Moves the status of a task's jobs: name it in the task, or derive from it with `everywhere = True`."""

    async def pre_processor(self, call: TaskCall) -> bool:
        """`working`; or `killed`, and it does not run."""
        if (uuid := _uuid(call.run.args)) is None or call.run.shadow:
            return True
        if await _is_killed(uuid):
            await _end(uuid, call.run, "killed")
            return False
        await _move(uuid, {"status": "working", "name": _name(call.run)})
        return True

    async def post_processor(self, call: TaskCall) -> None:
        """`completed`, unless the task said how it ended itself; or `killed`."""
        if (uuid := _uuid(call.run.args)) is None or call.run.shadow:
            return
        if isinstance(call.error, Killed):
            call.error = None
            await _end(uuid, call.run, "killed")
        elif call.error is None and call.run.outcome is None:
            await _end(uuid, call.run, "completed")

    async def on_failure(self, failure: JobFailure) -> None:
        """`failed`, whatever the reason, also until its next attempt."""
        if (uuid := _uuid(failure.args)) is not None:
            words = f"The task failed because of an error: {failure.message}"
            await _move(uuid, {"status": "failed", "message": words})


async def at(number: int, total: int, message: str | None = None) -> None:
    """Say how far this job is, as Ruby's `at`, which resque-web shows.

    Raises:
        Killed: somebody has asked for its end; let it pass.
    """
    run = current_run.get()
    if (uuid := _uuid(run.args)) is None or run.shadow:
        return
    if await _is_killed(uuid):
        raise Killed
    said = {} if message is None else {"message": message}
    await _move(uuid, {"status": "working", "num": number, "total": total, **said})


def _uuid(args: Sequence[Any]) -> str | None:
    first = args[0] if args else None
    return first if isinstance(first, str) and first else None


def _name(run: Run) -> str:
    options = run.args[1] if len(run.args) > 1 else None
    return f"{run.class_name}({codec.json_text(options) if options else ''})"


async def _is_killed(uuid: str) -> bool:
    try:
        return bool(await api.redis.call("SISMEMBER", api.redis.keys.ruby_kills, uuid))
    except StoreError as error:
        return _left_out(uuid, error)


async def _end(uuid: str, run: Run, status: str) -> None:
    at_s = SYSTEM_CLOCK.now_ms() // 1000
    when = datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%d %H:%M:%S +0000")
    message = f"{status.capitalize()} at {when}"
    await _move(uuid, {"status": status, "name": _name(run), "message": message})
    if status == "killed":
        try:
            await api.redis.call("SREM", api.redis.keys.ruby_kills, uuid)
        except StoreError as error:
            _left_out(uuid, error)


async def _move(uuid: str, more: Mapping[str, Any]) -> None:
    """Change members of a status by its text: all else that Ruby wrote stays as it is."""
    key = api.redis.keys.ruby_status(uuid)
    try:
        raw = await api.redis.call("GET", key)
        if not isinstance(raw, bytes) or not isinstance(codec.decode_lenient(raw), dict):
            return
        for name, value in {"time": SYSTEM_CLOCK.now_ms() // 1000, **more}.items():
            raw = _with_member(raw, name, codec.encode_text(value))
        await api.redis.call("SET", key, raw, "XX", "KEEPTTL")
    except StoreError as error:
        _left_out(uuid, error)


def _with_member(raw: bytes, name: str, value: bytes) -> bytes:
    if member_text(raw, name) is not None:
        return replace_member(raw, name, value)
    before = raw.rstrip()[:-1].rstrip()
    comma = b"" if before.endswith(b"{") else b","
    return b"%b%b%b:%b}" % (before, comma, codec.encode_text(name), value)


def _left_out(uuid: str, error: StoreError) -> bool:
    """A job does not fail because of its status."""
    _log.warning("the status of %s stays behind: %s", uuid, told(error))
    return False
