"""What a worker process does when `resqpy process` orders it; called in the heartbeat's thread, so that a process
whose event loop is blocked answers, too.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from resqpy.base.errors import UsageError
from resqpy.base.imports import own_version
from resqpy.base.masking import masked_text
from resqpy.engine.worker.heartbeat import state_of
from resqpy.framework.config.kinds import LEVEL
from resqpy.framework.logs.log import get_logger, set_level
from resqpy.framework.process.health import dump
from resqpy.store.orders import MOST_TASK_PROCESSORS

if TYPE_CHECKING:
    from resqpy.engine.worker.multi_worker import MultiWorker
    from resqpy.framework.process.process import Process

_LOOP_WITHIN_S = 1.0  # heartbeats wait meanwhile
_MOST_CHARS = 100_000


class Orders:
    """Obeys orders to a process.

    Args:
        process: it runs on the current loop.
        worker: that of the process.
    """

    def __init__(self, process: Process, worker: MultiWorker) -> None:
        self._process = process
        self._worker = worker
        self._loop = asyncio.get_running_loop()
        self._level = process.project.config.logger.level
        self._back: asyncio.TimerHandle | None = None
        worker.facts["log"] = {"level": self._level}

    async def obey(self, verb: str, args: Mapping[str, Any]) -> dict[str, Any]:
        """Obey an order; returns the answer.

        Raises:
            UsageError: it is not understood.
        """
        if verb == "ping":
            return self._facts()
        if verb == "stacks":
            text = masked_text(dump(self._loop))
            return {**self._facts(), "stacks": text[:_MOST_CHARS], "cut": len(text) > _MOST_CHARS}
        acts: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {
            "quiet": self._quiet,
            "stop": partial(self._stop, args.get("timeout_ms")),
            "scale": partial(self._scale, args.get("min"), args.get("max")),
            "log-level": partial(self._log_level, args.get("log_level"), args.get("for_ms")),
        }
        if verb not in acts:
            raise UsageError(f"this version of resqpy ({own_version()}) knows no order {verb!r}")
        get_logger().warning("ordered by resqpy process", order=verb, **args)
        done = asyncio.wrap_future(asyncio.run_coroutine_threadsafe(acts[verb](), self._loop))
        if not (await asyncio.wait([done], timeout=_LOOP_WITHIN_S))[0]:
            done.add_done_callback(partial(_tell_failure, verb))
            return {
                **self._facts(),
                "waits": "not done within a second: its event loop is blocked, or that takes longer; its log says "
                "how it ends if it fails",
            }
        done.result()
        return self._facts()

    def _facts(self) -> dict[str, Any]:
        """What a process says of itself; from any thread."""
        worker, pool, scaling = self._worker, self._worker.pool, self._worker.scaling
        facts = {
            "pid": os.getpid(),
            "version": own_version(),
            "state": state_of(pool, worker.options.cancel_timeout_s) or "working",
            "busy": len(pool.slots.busy),
            "processors": pool.slots.size,
            "min": scaling.min_task_processors,
            "max": scaling.max_task_processors,
            "log": worker.facts["log"],
        }
        silent_s = self._process.loop_watch.look()
        return facts | ({"blocked_s": round(silent_s, 1)} if silent_s >= _LOOP_WITHIN_S else {})

    # -- on the loop that runs the jobs --

    async def _quiet(self) -> None:
        self._process.pause(for_good=True)

    async def _stop(self, timeout_ms: Any) -> None:
        if self._process.stopping:
            return
        if timeout_ms is None:
            self._process.request_stop()
        else:
            self._process.request_stop(float(timeout_ms) / 1000)

    async def _scale(self, least: Any, most: Any) -> None:
        if type(least) is not int or type(most) is not int:
            raise UsageError(f"scale: {least!r} to {most!r} are no numbers")
        if most > MOST_TASK_PROCESSORS:
            raise UsageError(
                f"scale: {most:,} task processors are too many for one process; at most "
                f"{MOST_TASK_PROCESSORS:,}, or start more processes"
            )
        await self._worker.rescale(least, most)

    async def _log_level(self, level: Any, for_ms: Any) -> None:
        """Write lines from another level on; None: that of the configuration."""
        wanted = self._level if level is None else LEVEL.check(level)
        log: dict[str, Any] = {"level": self._level}
        if wanted != self._level:
            log["now"] = wanted
            if for_ms is not None:
                log["until"] = await self._worker.store.time_us() // 1000 + int(for_ms)
        self._write_from(wanted)
        if "until" in log:
            self._back = self._loop.call_later(int(for_ms) / 1000, self._go_back)
        self._worker.facts["log"] = log
        if not self._worker.pool.stopping:  # it would be registered again
            await self._worker.pool.slots.tell_facts()

    def _go_back(self) -> None:
        """The time of an ordered level is over; others see that by themselves."""
        self._write_from(self._level)
        self._worker.facts["log"] = {"level": self._level}
        get_logger().warning("log level is that of the configuration again", log_level=self._level)

    def _write_from(self, level: str) -> None:
        set_level(level)
        self._process.resque.log.set_level(level)
        if self._back is not None:
            self._back.cancel()
            self._back = None


def _tell_failure(verb: str, done: asyncio.Future[None]) -> None:
    """Nobody waits for it any more, so its log says it."""
    if not done.cancelled() and (error := done.exception()) is not None:
        get_logger().error("an order of resqpy process has failed", order=verb, error=str(error))
