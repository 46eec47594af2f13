"""Key names as Ruby and Node have them, and names of queues that are refused."""

from __future__ import annotations

import pytest

from resqpy.base.errors import InvalidQueueName
from resqpy.base.keys import FAILED, MAX_QUEUE_NAME, Keys, check_queue_name

KEYS = Keys()


@pytest.mark.parametrize(
    ("namespace", "prefix"),
    [
        ("resque", "resque:"), (["tenant", "{resque}"], "tenant:{resque}:"),
        (["a", "", " ", "b"], "a:b:"), ("{resque}", "{resque}:"),
    ],
)  # fmt: skip
def test_namespaces(namespace: str | list[str], prefix: str) -> None:
    """A text or parts; empty parts are dropped, as Node does."""
    assert Keys(namespace).prefix == prefix
    assert Keys(namespace).queues == f"{prefix}queues"


@pytest.mark.parametrize("namespace", ["", [], ["", " "]])
def test_an_empty_namespace(namespace: str | list[str]) -> None:
    """Node's keys have no prefix then."""
    keys = Keys(namespace)
    assert (keys.prefix, keys.queues, keys.queue("a")) == ("", "queues", "queue:a")
    assert keys.ruby_leader() == "resque_scheduler_master_lock"
    assert keys.leader == "resqpy:leader"


@pytest.mark.parametrize(
    ("key", "text"),
    [
        (KEYS.queues, "queues"), (KEYS.queue("a:b"), "queue:a:b"), (KEYS.workers, "workers"),
        (KEYS.worker("h:1:q"), "worker:h:1:q"), (KEYS.worker_started("h:1:q"), "worker:h:1:q:started"),
        (KEYS.heartbeats, "workers:heartbeat"), (KEYS.ping("h:1"), "worker:ping:h:1"),
        (KEYS.pause, "pause-all-workers"), (KEYS.stat("failed", "h:1:q"), "stat:failed:h:1:q"),
        (KEYS.failed, "failed"), (KEYS.failed_list(FAILED), "failed"),
        (KEYS.failed_list("q_failed"), "q_failed"), (KEYS.failed_queues, "failed_queues"),
        (KEYS.schedule, "delayed_queue_schedule"), (KEYS.delayed(17), "delayed:17"),
        (KEYS.last_enqueued_at, "delayed:last_enqueued_at"),
        (KEYS.persistent_schedules, "persistent_schedules"), (KEYS.schedules_changed, "schedules_changed"),
        (KEYS.ruby_leader(), "resque:resque_scheduler_master_lock"),
        (KEYS.ruby_leader("blue"), "resque:blue:resque_scheduler_master_lock"),
        (KEYS.node_leader, "resque_scheduler_leader_lock"),
        (KEYS.queue_lock("A", "q", "[1]"), "lock:A:q:[1]"),
        (KEYS.job_lock("A", "q", "[]"), "workerslock:A:q:[]"),
        (KEYS.retry("A", "1-2"), "resque-retry:A:1-2"), (KEYS.retry("A", ""), "resque-retry:A"),
        (KEYS.retry("A", "a b c"), "resque-retry:A:ab c"),
        (KEYS.retry("A", "a\u2003b"), "resque-retry:A:ab"),
        (KEYS.retry_failure("A", ""), "failure-resque-retry:A:"), (KEYS.named("lock:A"), "lock:A"),
    ],
)  # fmt: skip
def test_keys(key: str, text: str) -> None:
    """Section 1 of the wire document."""
    assert key == f"resque:{text}"


def test_a_timestamps_key_is_the_very_text() -> None:
    """Bytes or text; the member in it has no namespace."""
    assert KEYS.timestamps(b'{"\xff"}') == b'resque:timestamps:{"\xff"}'
    assert KEYS.timestamps("é") == "resque:timestamps:é".encode()
    assert KEYS.delayed_member(17) == "delayed:17"


@pytest.mark.parametrize(
    "name", ["default", "a:b", "a b", "é😀", "q.1-x_y@z/0", "x" * MAX_QUEUE_NAME]
)
def test_queue_names(name: str) -> None:
    """Colons, inner blanks and all scripts are fine."""
    assert check_queue_name(name) == name


@pytest.mark.parametrize(
    ("name", "named"),
    [
        ("", "default"), (" q", "' q'"), ("q\n", r"'q\\n'"), ("a*", r"'\*'"), ("a?", r"'\?'"),
        ("[a]", r"'\['"), ("{a}", "'{'"), ("!a", "'!'"), ("a,b", "','"), ("a\x00b", "x00"),
        ("a\ud800", "ud800"), ("x" * 10_240, "10240"), ("é" * 257, "514.*512"), (None, "None"),
        (b"q", "b'q'"), (["q"], r"\['q'\]"),
    ],
)  # fmt: skip
def test_refused_queue_names(name: object, named: str) -> None:
    """The message names the name, or the character or size that is wrong, and stays short."""
    with pytest.raises(InvalidQueueName, match=named) as caught:
        check_queue_name(name)
    assert len(str(caught.value)) < 250
