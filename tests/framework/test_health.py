"""`process.health_port`: what `GET /live` and `GET /ready` answer."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import threading
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from resqpy.base.concurrency.loops import HelperThread
from resqpy.base.errors import UsageError
from resqpy.embedded import PrivateServer
from resqpy.framework.process.health import HealthInitializer
from resqpy.framework.process.process import Process
from tests.framework.conftest import MakeProject, until
from tests.support.ports import free_port
from tests.support.probes import get


async def test_a_live_and_ready_process(make_project: MakeProject) -> None:
    """Both say yes; other paths name those that there are; a stopped process listens no more."""
    port = free_port()
    project = make_project({"process.health_port": port})
    async with Process(project, worker=True) as process:
        live, ready, other = [await get(port, path) for path in ("/live", "/ready", "/")]
        process.request_stop()
        stopping = await get(port, "/ready")

    assert (live[0], live[1]["live"]) == (200, True)
    assert ready == (200, {"ready": True, "started": True, "stopping": False, "redis": True})
    assert other == (404, {"paths": ["/live", "/ready", "/metrics", "/scale"]})
    assert (stopping[0], stopping[1]["stopping"]) == (503, True)
    with pytest.raises(OSError, match=r"refused|failed"):
        await get(port, "/live")


async def test_a_process_without_redis_is_live_and_not_ready(make_project: MakeProject) -> None:
    """A restart would not bring Redis back, so liveness does not depend on it."""
    port = free_port()
    with PrivateServer() as server:
        project = make_project({"redis.url": server.url, "process.health_port": port})
        async with Process(project) as process:
            server.stop()
            await until(lambda: _is(port, "/ready", 503))
            assert (await get(port, "/live"))[0] == 200
            server.start()
            await until(lambda: _is(port, "/ready", 200))
            assert not process.stopping


async def _is(port: int, path: str, status: int) -> bool:
    return (await get(port, path))[0] == status


async def test_a_taken_port_is_told(make_project: MakeProject) -> None:
    """With the setting that is wrong."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=rf"cannot listen on port {port}.*--health-port"):
            await Process(make_project({"process.health_port": port})).start()


@pytest.mark.parametrize("sent", [b"", b"nonsense\r\n\r\n", b"x" * 100_000])
async def test_what_is_no_request_harms_nobody(make_project: MakeProject, sent: bytes) -> None:
    """The next one is answered."""
    port = free_port()
    async with Process(make_project({"process.health_port": port})):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(sent)
        writer.write_eof()
        await asyncio.wait_for(reader.read(), 5)
        writer.close()
        assert (await get(port, "/live"))[0] == 200


async def test_a_scheduler_advises_autoscalers(make_project: MakeProject, redis: Redis) -> None:
    """Where no worker is left: what waits and what runs in any language, of the queues that are asked for."""
    port = free_port()
    await redis.sadd("resque:queues", "mail", "mail^5", "bulk")
    for queue in ("mail", "mail^5", "bulk"):
        await redis.rpush(f"resque:queue:{queue}", '{"class":"A","args":[]}')
    await redis.sadd("resque:workers", "ruby:1:bulk")
    record = '{"queue":"bulk","run_at":"2026-11-21T00:00:00Z","payload":{"class":"A","args":[]}}'
    await redis.set("resque:worker:ruby:1:bulk", record)
    async with Process(make_project({"process.health_port": port}), scheduler=True):
        mail = await get(port, "/scale?queues=mail&per_process=2")
        every = await get(port, "/scale?queues=*&target_latency=1m")
        some = await get(port, "/scale?queues=*,!mail")
        wrong = await get(port, "/scale?queues=*&target_latency=soon")
        long = await get(port, f"/scale?queues=*&per_process={'9' * 1000}")
        await redis.set("resque:pause-all-workers", "true")
        paused = await get(port, "/scale?queues=*")

    assert mail[0] == 200
    assert [mail[1][each] for each in ("desired", "processes", "busy", "waiting")] == [2, 1, 0, 2]
    assert {name: each["desired"] for name, each in every[1]["queues"].items()} == {
        "mail": 1, "mail^5": 1, "bulk": 1,
    }  # fmt: skip
    assert (every[1]["desired"], every[1]["busy"]) == (3, 1)
    assert [*some[1]["queues"]] == ["bulk"]
    assert (wrong[0], "soon" in wrong[1]["error"]) == (400, True)
    assert long[0] == 400
    assert (paused[1]["desired"], paused[1]["busy"], paused[1]["waiting"]) == (1, 1, 3)


async def test_the_oldest_of_too_many_connections_goes(make_project: MakeProject) -> None:
    """Of seventeen the first; the others are heard."""
    port = free_port()
    async with Process(make_project({"process.health_port": port})):
        opened = [await asyncio.open_connection("127.0.0.1", port) for _ in range(17)]
        with contextlib.suppress(ConnectionResetError):
            assert await asyncio.wait_for(opened[0][0].read(), 5) == b""
        for reader, writer in opened[1:]:
            writer.write(b"GET /live HTTP/1.1\r\n\r\n")
            assert (await reader.read()).startswith(b"HTTP/1.1 200")
        for _, writer in opened:
            writer.close()


async def test_only_this_machine_is_answered_unless_told(make_project: MakeProject) -> None:
    """Whoever reaches the port can read the metrics."""
    for host, reached in (("127.0.0.1", False), ("0.0.0.0", True)):
        port = free_port()
        settings = {"process.health_port": port, "process.health_host": host}
        async with Process(make_project(settings)):
            with socket.socket() as other:
                other.settimeout(5)
                # all of 127.0.0.0/8 is this machine, but another address than the one that listens
                assert (other.connect_ex(("127.0.0.2", port)) == 0) is reached


async def test_an_address_that_the_machine_lacks_is_told(make_project: MakeProject) -> None:
    """With the setting that is wrong."""
    for host in ("192.0.2.1", "no such host"):
        settings = {"process.health_port": free_port(), "process.health_host": host}
        with pytest.raises(UsageError, match=r"process\.health_host"):
            await Process(make_project(settings)).start()


async def test_a_flood_takes_few_descriptors(
    make_project: MakeProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that come together are let in one by one, and each time the oldest goes: jobs need files, too."""
    port, request, go_on = free_port(), HealthInitializer._request, threading.Event()
    files: list[int] = []

    def note(self: HealthInitializer, one: socket.socket) -> Any:
        files.append(_open_files())
        return request(self, one)

    monkeypatch.setattr(HealthInitializer, "_request", note)
    async with Process(make_project({"process.health_port": port})) as process:
        held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(16)]
        await until(lambda: len(files) == 16)
        _thread(process).call(go_on.wait)
        held += [await asyncio.open_connection("127.0.0.1", port) for _ in range(16)]
        before = _open_files()
        go_on.set()
        await until(lambda: len(files) == 32)
        assert (await get(port, "/live"))[0] == 200
        for _, writer in held:
            writer.close()

    assert max(files) - before <= 4


@pytest.mark.parametrize("turns", range(6))
async def test_a_connection_at_the_end_is_closed(make_project: MakeProject, turns: int) -> None:
    """One that is accepted so many turns of the loop before it ends; else Python warns of it."""
    port, go_on = free_port(), threading.Event()
    async with Process(make_project({"process.health_port": port})) as process:
        thread = _thread(process)
        thread.call(go_on.wait)
        _, writer = await asyncio.open_connection("127.0.0.1", port)

        def stop_in(left: int) -> None:
            assert thread._stopping is not None
            thread.call(partial(stop_in, left - 1)) if left else thread._stopping.set()

        thread.call(partial(stop_in, turns))
        go_on.set()
    writer.close()
    gc.collect()


def _thread(process: Process) -> HelperThread:
    assert process._boot is not None
    [health] = [each for each in process._boot._made if isinstance(each, HealthInitializer)]
    assert health._thread is not None
    return health._thread


def _open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))
