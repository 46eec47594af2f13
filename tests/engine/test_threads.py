"""Plain functions in threads: bounded, with their context, interrupted and let go."""

from __future__ import annotations

import asyncio
import contextvars
import sys
import textwrap
import threading
import time
from collections.abc import Sized
from typing import Any

import pytest

from resqpy.engine.worker import threads as engine_threads
from resqpy.engine.worker.threads import Interrupted, ThreadRunner
from tests.support.waiting import wait_for, wait_until

name: contextvars.ContextVar[str] = contextvars.ContextVar("name")


async def test_the_result_and_the_error_come_back() -> None:
    """What the function returns is returned, what it raises is raised, whatever it is."""
    threads = ThreadRunner(2)

    def raising(error: BaseException) -> None:
        raise error

    assert await threads.run(lambda a, b: a + b, [1, 2]) == 3
    for error in (ValueError("x"), SystemExit(3), KeyError("k")):
        with pytest.raises(type(error)):
            await threads.run(raising, [error])
    odd: list[BaseException] = [StopIteration(1), GeneratorExit(), KeyboardInterrupt()]
    for impossible in odd:  # which no future and no loop can take
        with pytest.raises(RuntimeError, match=type(impossible).__name__):
            await threads.run(raising, [impossible])
    threads.close()


async def test_the_context_is_kept() -> None:
    """The function sees the caller's context variables, and changes its own copy."""
    threads = ThreadRunner(1)
    name.set("caller")

    def change() -> str:
        before = name.get()
        name.set("thread")
        return before

    assert await threads.run(change, []) == "caller"
    assert await threads.run(change, []) == "caller"
    assert name.get() == "caller"
    threads.close()


async def test_no_more_run_at_the_same_time_than_allowed() -> None:
    """Three threads run 21 functions, three at a time, and none of the threads is new each time."""
    threads = ThreadRunner(3)
    together = threading.Barrier(3, timeout=20)
    running: list[int] = []
    most: list[int] = []
    ids: set[int] = set()

    def work() -> None:
        running.append(1)
        most.append(len(running))
        ids.add(threading.get_ident())
        together.wait()
        running.pop()

    await asyncio.gather(*(threads.run(work, []) for _ in range(21)))
    assert max(most) == 3
    assert len(ids) == 3
    threads.close()


def ended(threads: ThreadRunner) -> Sized:
    """The calls whose end the loop has not seen."""
    ends = threads._ends
    assert ends is not None
    return ends._calls


def wait_until_closed(threads: ThreadRunner, count: int) -> None:
    """Keep the loop busy until this many calls have ended in their threads."""
    wait_until(lambda: len(ended(threads)) >= count)


async def test_those_that_end_while_the_loop_is_busy_wake_it_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A wake-up is a system call, and most of what a short function costs."""
    threads = ThreadRunner(3)
    wakes: list[int] = []
    loop = asyncio.get_running_loop()
    wake = loop.call_soon_threadsafe

    def counted(*args: Any) -> Any:
        wakes.append(len(ended(threads)))
        return wake(*args)

    monkeypatch.setattr(loop, "call_soon_threadsafe", counted)
    for _ in range(3):
        calls = [asyncio.ensure_future(threads.run(abs, [-n])) for n in range(20)]
        await asyncio.sleep(0)  # all are submitted
        wait_until_closed(threads, 20)
        assert await asyncio.gather(*calls) == list(range(20))
    assert len(wakes) == 3
    threads.close()


async def cancelled(task: asyncio.Task[Any]) -> None:
    """Cancel a task and wait for its end."""
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_cancelled_function_is_interrupted() -> None:
    """An error strikes the function where it is; its `finally` runs."""
    threads = ThreadRunner(1)
    seen: list[str] = []

    def loop() -> None:
        seen.append("begun")
        try:
            while True:
                time.sleep(0.002)
        except Interrupted:
            seen.append("interrupted")
            raise

    task = asyncio.ensure_future(threads.run(loop, []))
    await wait_for(lambda: seen)
    await cancelled(task)
    assert seen == ["begun", "interrupted"]
    assert await threads.run(lambda: "next", []) == "next"
    threads.close()


async def test_one_that_waits_for_a_thread_is_cancelled_without_ever_beginning() -> None:
    """It costs no thread, and who waits behind it goes on."""
    threads = ThreadRunner(1)
    gate = threading.Event()
    ran: list[str] = []
    first = asyncio.ensure_future(threads.run(gate.wait, []))
    second = asyncio.ensure_future(threads.run(ran.append, ["second"]))
    third = asyncio.ensure_future(threads.run(ran.append, ["third"]))
    await asyncio.sleep(0)  # all three stand in line
    await cancelled(second)  # before the first has ended
    gate.set()
    await asyncio.gather(first, third)
    assert ran == ["third"]
    threads.close()


async def test_one_that_does_not_end_is_let_go_and_made_good(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A call into C can't be interrupted: another thread takes the place of its thread, which ends
    when it comes back, so that never more run than allowed.
    """
    monkeypatch.setattr("resqpy.engine.worker.threads._END_WITHIN_S", 0.05)
    others = set(threading.enumerate())

    def ours() -> int:
        return len(set(threading.enumerate()) - others)

    threads = ThreadRunner(1)
    called, gate = threading.Event(), threading.Lock()
    gate.acquire()

    def call_into_c() -> None:
        called.set()
        gate.acquire()

    task = asyncio.ensure_future(threads.run(call_into_c, []))
    await wait_for(called.is_set)
    await cancelled(task)
    assert await threads.run(lambda: "next", []) == "next"
    gate.release()
    await wait_for(lambda: ours() == 1)
    assert threads._threads == 1
    threads.close()
    await wait_for(lambda: ours() == 0)


async def test_a_function_that_returns_in_spite_of_it_has_done_its_work() -> None:
    """Its result counts, so it is not repeated."""
    threads = ThreadRunner(1)
    begun = threading.Event()

    def finish() -> str:
        try:
            begun.set()
            while True:
                time.sleep(0.002)
        except Interrupted:
            return "done"

    task = asyncio.ensure_future(threads.run(finish, []))
    await wait_for(begun.is_set)
    task.cancel()
    assert await task == "done"
    threads.close()


async def test_an_interruption_never_strikes_the_next_function() -> None:
    """Cancelled at any moment, also in that of its end, it leaves the thread in order."""
    threads = ThreadRunner(2)
    done: list[int] = []

    def short(number: int) -> None:
        deadline = time.perf_counter() + 0.0005
        while time.perf_counter() < deadline:
            pass
        done.append(number)

    for number in range(300):
        victim = asyncio.ensure_future(threads.run(short, [-1]))
        await asyncio.sleep(0.0001 * (number % 12))
        victim.cancel()
        await threads.run(short, [number])
        await asyncio.wait([victim])
    assert [n for n in done if n >= 0] == list(range(300))
    assert threads._threads <= 2
    threads.close()


async def test_a_debugger_can_still_trace() -> None:
    """After a job in a thread (Python 3.11 hangs under a tracer once an interruption was taken back)."""
    code = """
        import asyncio, faulthandler, sys
        from resqpy.engine.worker.threads import ThreadRunner
        faulthandler.dump_traceback_later(8, exit=True)
        async def main():
            threads = ThreadRunner(1)
            await threads.run(len, ["ab"])
            sys.settrace(lambda *_: None)
            print(await threads.run(len, ["ab"]))
            threads.close()
        asyncio.run(main())
    """
    done = await asyncio.create_subprocess_exec(
        sys.executable, "-c", textwrap.dedent(code), stdout=asyncio.subprocess.PIPE
    )
    out, _ = await done.communicate()

    assert (done.returncode, out) == (0, b"2\n")


def test_a_call_that_ends_after_its_loop_holds_up_no_call_of_the_next_one() -> None:
    """What the first could not be told any more is not waited for by the next."""
    threads, go, over = ThreadRunner(2), threading.Event(), threading.Event()

    def waits() -> None:
        go.wait(20)
        over.set()

    async def begin() -> None:
        left.append(asyncio.ensure_future(threads.run(waits, [])))
        await asyncio.sleep(0)

    left: list[asyncio.Future[Any]] = []
    loop = asyncio.new_event_loop()
    loop.run_until_complete(begin())
    loop.close()
    go.set()
    assert over.wait(20)
    for number in (1, 2, 3):
        again = asyncio.wait_for(threads.run(lambda n=number: n, []), 20)
        assert asyncio.run(again) == number
    left[0]._log_destroy_pending = False  # type: ignore[attr-defined]  # its loop is gone
    threads.close()


async def test_a_result_counts_before_the_loop_has_heard_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The function returned in spite of a cancellation, in the very moment in which its time was over."""
    threads, begun, returned = ThreadRunner(1), threading.Event(), threading.Event()
    call: Any = None

    def stubborn() -> int:
        try:
            begun.set()
            while True:
                time.sleep(0.001)
        except Interrupted:
            return 7
        finally:
            returned.set()

    def until_it_has_returned() -> None:
        returned.wait(20)
        while not call.returned:
            time.sleep(0.001)

    async def hears_nothing(*_: object) -> None:
        until_it_has_returned()

    monkeypatch.setattr(engine_threads, "outlast", hears_nothing)
    submit = threads._submit

    def submitted(made: Any) -> None:
        nonlocal call
        call = made
        submit(made)

    monkeypatch.setattr(threads, "_submit", submitted)
    task = asyncio.ensure_future(threads.run(stubborn, []))
    await asyncio.to_thread(begun.wait, 20)
    task.cancel()
    assert await task == 7
    threads.close()
