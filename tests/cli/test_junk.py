"""Commands that look, where junk stands under the keys that only resqpy knows."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from redis.asyncio import Redis

from resqpy.base.keys import Keys
from resqpy.cli.output.printing import Exit
from resqpy.store.repair.junk import own_kinds
from tests.cli.conftest import Call
from tests.support.junk import KINDS, put_junk

OWN = own_kinds(Keys(), leading=True)
LOOKS = (
    "schedule list", "schedule fires --limit 3", "doctor", "info", "info --prometheus", "workers list",
    "leader", "stats", "queues list", "delayed list", "failed list", "healthcheck --scheduler",
    "locks list", "top --rounds 1",
)  # fmt: skip


async def _put(url: str, kind: str) -> list[str]:
    async with Redis.from_url(url) as redis:
        wrong = [key for key, right in OWN.items() if right != kind]
        for key in wrong:
            await put_junk(redis, key, kind)
    return wrong


async def _put_words(url: str, word: str) -> None:
    async with Redis.from_url(url) as redis:
        for key, kind in OWN.items():
            await put_junk(redis, key, kind, word)


def _run(coroutine: Any) -> Any:
    """In a loop of its own: commands run another one."""
    return asyncio.run(coroutine)


@pytest.mark.parametrize("kind", KINDS)
def test_junk_of_another_kind_blinds_nobody(resqpy: Call, redis_url: str, kind: str) -> None:
    """Each command answers; the schedule says which keys it could not read, doctor names them all."""
    wrong = _run(_put(redis_url, kind))

    said = {command: resqpy(*command.split()) for command in LOOKS}

    assert {c: each.err for c, each in said.items() if each.code not in (Exit.OK, Exit.NO)} == {}
    assert [key for key in wrong if key not in said["doctor"].out] == []
    unread = "resque:resqpy:periodic:jobs"  # only who stops or mends a task reads these
    read = [key for key in wrong if ":periodic:" in key or key.endswith(":cron")]
    read = [key for key in read if key != unread]
    assert [key for key in read if key not in said["schedule list"].err] == []


@pytest.mark.parametrize("word", ["junk", "9" * 400, "inf", "", "999999999999999", "{}"])
def test_values_that_mean_nothing_blind_nobody(resqpy: Call, redis_url: str, word: str) -> None:
    """As scores, times, JSON: whatever somebody left there."""
    _run(_put_words(redis_url, word))

    said = {command: resqpy(*command.split()) for command in LOOKS}

    assert {c: each.err for c, each in said.items() if each.code not in (Exit.OK, Exit.NO)} == {}


def test_doctor_moves_it_aside(resqpy: Call, redis_url: str) -> None:
    """Nothing is deleted, and a second look finds nothing."""
    wrong = _run(_put(redis_url, "hash"))

    fixed = resqpy("doctor", "--fix", "--yes", "--json").json
    again = resqpy("doctor", "--json").json

    found = {each["name"]: each["fixed"] for each in fixed}
    assert found["junk in our keys"] == len(wrong)
    assert "junk in our keys" not in {each["name"] for each in again}
