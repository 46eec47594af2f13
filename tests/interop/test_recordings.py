"""The recorded bytes replay, and the programs that wrote them read them again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.recordings import (
    load_recorded,
    recorded_table,
    recorded_values,
    recordings,
    replay,
)
from tests.support.redis_state import dump

if TYPE_CHECKING:
    from tests.support.foreign import NodeDriver, RubyDriver


@pytest.mark.parametrize("name", recordings())
async def test_each_recording_replays(name: str, redis: Any) -> None:
    """Every key of a recording is there afterwards, and no stand-in is left in it."""
    await replay(redis, name)
    keys = await redis.keys("*")
    assert {command[1] for command in load_recorded(name)} == set(keys)
    state = repr(await dump(redis))
    assert [word for word in ("'NS:", "HOST:", ":PID") if word in state] == []


async def test_a_recording_replays_under_another_namespace(redis: Any) -> None:
    """The lock of resque-scheduler has the namespace twice, a plugin's own key not at all."""
    await replay(redis, "node-10-reads-ruby", namespace="app", host="h")
    await replay(redis, "node-09-plugin-queuelock", namespace="app", host="h")
    assert await redis.get("app:app:resque_scheduler_master_lock") == b"localhost:4002"
    assert 0 < await redis.ttl("app:app:resque_scheduler_master_lock") <= 180
    assert await redis.smembers("app:workers") == {b"h:4003:alpha", b"h:4004:a:b,waiting2"}
    assert await redis.exists("my:own:key")


def test_single_values_keep_their_bytes() -> None:
    """What one side wrote is there as it was, valid JSON or not."""
    failed = recorded_values("failed")
    assert b'"backtrace":null' in failed["Node: NoStack: RangeError, backtrace null"]
    assert json.loads(failed["Ruby: NoSuchClass: NameError"])["error"].count("\n") == 3
    assert recorded_values("poison")["invalid UTF-8"] == b'{"class":"ArgsJob","args":["\xff"]}'
    assert b"1.0e+15" in b"".join(recorded_values("job").values())


def test_tables_say_what_the_others_do() -> None:
    """The cron formats and the number texts of both sides are tables."""
    refused = {row["text"] for row in recorded_table("cron-formats")["cron"] if not row["next"]}
    texts = {row["value"]: row for row in recorded_table("json-writing")["rows"]}
    assert {"@reboot", "0 0 * * ?"} <= refused
    assert [texts["1e-7"][side] for side in ("rb4", "rb5", "node")] == [
        "1.0e-07",
        "0.0000001",
        "1e-7",
    ]


async def test_ruby_reads_the_recorded_ruby_installation(ruby: RubyDriver, redis: Any) -> None:
    """Ruby's own listings accept the replayed state."""
    await replay(redis, "ruby-installation")
    info = await ruby.call("info")
    assert (info["workers"], info["working"]) == (4, 3)
    assert len(await ruby.call("workers")) == 4
    assert await ruby.call("failure.count") == await redis.llen("resque:failed") == 11


async def test_node_reads_the_recorded_node_installation(node: NodeDriver, redis: Any) -> None:
    """Node's own listings accept the replayed state."""
    await replay(redis, "node-installation")
    working = await node.call("queue.allWorkingOn")
    busy = [name for name, job in working.items() if job != "started"]
    assert {"recorded-host:4001", "recorded-host:4001+1"} <= set(busy)
    assert len(await node.call("queue.failed", 0, -1)) == await redis.llen("resque:failed")
    assert "lock:Locked:alpha:[2]" in await node.call("queue.locks")
