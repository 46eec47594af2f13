"""What looking costs where there is much of everything: bounded memory, bounded output."""

from __future__ import annotations

import resource

import pytest
from redis import Redis

from tests.cli.conftest import Call

MANY = 20_000


@pytest.mark.parametrize(
    "command",
    ["doctor", "task explain sendMail", "failed groups", "locks list", "failed list --class C1"],
)
def test_a_look_at_much_is_short(command: str, resqpy: Call, client: Redis) -> None:
    """Whatever there is, a page is shown, and the memory does not grow with it."""
    with client.pipeline(transaction=False) as pipe:
        for n in range(MANY):
            item = f'{{"class":"sendMail","queue":"q","args":[{n}]}}'
            pipe.set(f"resque:lock:sendMail:default:[{n}]", 4_000_000_000, ex=1000)
            pipe.rpush(f"resque:delayed:{4_000_000_000 + n}", item)
            pipe.zadd("resque:delayed_queue_schedule", {str(4_000_000_000 + n): 4_000_000_000 + n})
            pipe.sadd(f"resque:timestamps:{item}", f"delayed:{4_000_000_000 + n}")
            pipe.rpush(
                "resque:failed",
                f'{{"payload":{{"class":"C{n % 50}","args":[{n}]}},"exception":"E"}}',
            )
        pipe.execute()
    resqpy(*command.split(), "--json")  # what is imported stays in memory
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    said = resqpy(*command.split(), "--json")

    assert len(said.out) < 200_000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb < 60_000
