"""The verbs for periodic tasks: start, stop, pause, resume, trigger; for `api.tasks` and `resqpy schedule`.

They need no scheduler in this process, and include tasks that only other processes have.
"""

from __future__ import annotations

from resqpy.base import codec, periodic
from resqpy.base.clock import SYSTEM_CLOCK
from resqpy.base.errors import UnknownTask
from resqpy.base.imports import listed, near_match
from resqpy.base.periodic import Periodic
from resqpy.engine.plugin import Enqueuing
from resqpy.engine.queue.queue import Queue
from resqpy.schedules.tasks import own_tasks
from resqpy.store import delayed, periodic as store
from resqpy.store.periodic import BOOT, START, DueJob, chain_firing, fire


class RecurrentJobs:
    """Starts and stops periodic tasks.

    Args:
        queue: a `Queue` with the tasks of this process.
    """

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._store = queue.store
        self.tasks: dict[str, Periodic] = own_tasks(queue.definitions)

    # -- ActionHero's verbs --

    async def enqueue_recurrent_job(self, name: str) -> bool:
        """Start a periodic task, including one that was stopped or ended by a failure.

        Returns:
            False if it was already running.

        Raises:
            UnknownTask: no process has a periodic task of that name.
        """
        task = await self._task(name)
        return name in await self._announce({name: task}, START)

    async def enqueue_all_recurrent_jobs(self) -> list[str]:
        """Start all periodic tasks of this process, as each process does when it starts; returns the names
        of those started. Tasks stopped by hand stay stopped: start them by name.
        """
        return await self._announce(self.tasks, BOOT) if self.tasks else []

    async def _announce(self, tasks: dict[str, Periodic], how: str) -> list[str]:
        """By Redis' clock, which all schedulers use, or by a test's clock."""
        clock = self._queue.clock
        now_ms = None if clock is SYSTEM_CLOCK else clock.now_ms()
        return await store.announce(self._store, tasks, how, now_ms)

    async def stop_recurrent_job(self, name: str) -> int:
        """Stop a periodic task until `enqueue_recurrent_job` starts it again, and remove its waiting and
        delayed jobs. A running one finishes, and is the last.

        Returns:
            How many jobs were removed; the next run of the task counts as one.
        """
        task = await self._task(name)
        removed, out = await store.stop(self._store, name, task)
        removed += await self._queue.del_by_function(task.queue, name)
        args = task.args
        if out is not None:
            removed += len(await delayed.remove(self._store, [out]))
            args = tuple(codec.decode_job(out, task.queue).args)
        return removed + len(await self._queue.del_delayed(task.queue, name, args))

    # -- pause, resume, trigger --

    async def pause(self, name: str) -> bool:
        """Stop enqueuing a task until `resume`; its cron times meanwhile are skipped.

        Returns:
            False if it was already paused.
        """
        await self._task(name)
        return await store.pause(self._store, name, paused=True)

    async def resume(self, name: str) -> bool:
        """Resume a paused task; False if it was not paused."""
        await self._task(name)
        return await store.pause(self._store, name, paused=False)

    async def trigger(self, name: str) -> bool:
        """Enqueue a task now, regardless of its times, even if it is paused or stopped.

        Returns:
            False if a task with a frequency is already under way, or if a plugin forbids it.
        """
        task = await self._task(name)
        seen = await store.look(self._store)
        if name in seen.out:
            return False
        if name not in seen.due:
            return await self._queue.enqueue(task.queue, name, task.args)
        return await self._trigger_chain(name, task, seen.due[name], seen.time_us // 1000)

    async def _trigger_chain(self, name: str, task: Periodic, due_ms: int, now_ms: int) -> bool:
        """The chain's own next job, now instead of later, so that there is only one at a time."""
        context = Enqueuing(name, task.queue, list(task.args), self._queue)
        if not await self._queue.before_enqueue(context):
            return False
        jobs = [DueJob(now_ms, context.args)]
        what = chain_firing(self._store.keys, name, task, jobs, due_ms, due_ms)
        what = what._replace(guards=[self._queue.guards(task.queue, name, context.args)])
        if await fire(self._store, None, what) != 1:
            return False
        await self._queue.after_enqueue(context)
        return True

    async def _task(self, name: str) -> Periodic:
        """A task of this process, or one that another has announced."""
        if name in self.tasks:
            return self.tasks[name]
        known = (await store.look(self._store)).tasks
        if name not in known:
            names = {*self.tasks, *known}
            raise UnknownTask(
                f"there is no periodic task {name!r}{near_match(name, names)} "
                f"(periodic tasks: {listed(names)})"
            )
        return periodic.decode(known[name])
