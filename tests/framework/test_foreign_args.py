"""Arguments as foreign clients write them for a task that has no inputs, or only optional ones."""

from __future__ import annotations

from typing import Any

import pytest
from redis.asyncio import Redis

from resqpy.framework.process.process import Process
from tests.framework.conftest import MakeProject, until

TASK = """
from resqpy import task

@task
def optional(name: str = "nobody") -> str:
    \"\"\"All inputs may be left out.\"\"\"
    return name
"""


@pytest.mark.parametrize("args", ["[]", "[{}]", "[null]", "null", "{}", "[[]]"])
async def test_no_inputs(args: str, make_project: MakeProject, redis: Redis) -> None:
    """Ruby's, Node's, and PHP's empty array: it runs."""
    project = make_project(tasks__one=TASK)
    await redis.sadd("resque:queues", "default")
    await redis.rpush("resque:queue:default", f'{{"class":"optional","args":{args}}}')

    async with Process(project, worker=True):

        async def ended() -> Any:
            return await redis.get("resque:stat:processed") or await redis.llen("resque:failed")

        await until(ended)

    assert await redis.llen("resque:failed") == 0
