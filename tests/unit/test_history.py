"""Records of what ran, and the counters of a process."""

from __future__ import annotations

import threading
from math import inf

import pytest

from resqpy.base.history import (
    BOUNDS_MS,
    BUCKETS,
    FAILED,
    LOST,
    MINUTES,
    MOST_NAMES,
    OTHERS,
    QUEUES,
    RETRIED,
    RUN_MS,
    RUNS,
    SIZE,
    TASKS,
    WAIT_MS,
    WAITED,
    Tally,
    new_record,
    percentile_ms,
    read_record,
)


@pytest.mark.parametrize(
    "raw",
    [
        None,
        b"",
        b"{}",
        b"[3,1]",
        b"-3",
        b"a,1",
        b"\xff\xfe",
        b"1.5",
        b"1,",
        b"9" * 400,
        "٣".encode(),
    ],
)
def test_what_others_have_written_is_no_record(raw: bytes | None) -> None:
    """It counts nothing."""
    assert read_record(raw) == new_record()


def test_a_record_may_be_shorter_and_longer_than_it_is() -> None:
    """A neighbour of another version may know more classes."""
    assert read_record(b"3,1") == [3, 1, *([0] * (SIZE - 2))]
    assert read_record(b",".join([b"1"] * 100)) == [1] * SIZE


def test_percentiles() -> None:
    """Evenly within a class; of none there is none; beyond the last bound nobody knows."""
    record = new_record()
    assert percentile_ms(record, 0.5) is None
    record[BUCKETS + BOUNDS_MS.index(100)] = 90  # 50 to 100 ms
    record[BUCKETS + BOUNDS_MS.index(1000)] = 9  # 500 to 1,000
    record[BUCKETS + len(BOUNDS_MS)] = 1
    assert percentile_ms(record, 0.45) == 75
    assert percentile_ms(record, 0.9) == 100
    assert percentile_ms(record, 0.99) == 1000
    assert percentile_ms(record, 0.995) == inf


def test_slots_are_of_the_clock() -> None:
    """The oldest first, this one last."""
    assert MINUTES.slots(1_000_019, 3) == [999_840, 999_900, 999_960]


def test_what_is_counted() -> None:
    """By task and by queue: run times of tasks, waits of queues."""
    tally = Tally()
    tally.succeeded(
        [("Send", "mail", 7, None), ("Send", "mail", 7, 300), ("Send", "low", 40, None)]
    )
    tally.failed(("Send", "mail", 20_000, 0))
    tally.note(RETRIED, "Send", "mail")
    tally.note(LOST, "Pay", "low")
    tasks, queues = tally.records(TASKS), tally.records(QUEUES)

    assert set(tasks) == {"Send", "Pay"}
    assert tasks["Send"][:BUCKETS] == [4, 1, 1, 0, 20_054, 2, 300]
    assert sum(tasks["Send"][BUCKETS:]) == 4
    assert tasks["Send"][BUCKETS + BOUNDS_MS.index(10)] == 2
    assert tasks["Pay"][LOST] == 1
    assert (queues["mail"][RUNS], queues["mail"][FAILED], queues["mail"][RUN_MS]) == (3, 1, 20_014)
    assert (queues["mail"][WAITED], queues["mail"][WAIT_MS]) == (2, 300)
    assert queues["mail"][BUCKETS] == 1
    assert queues["mail"][BUCKETS + BOUNDS_MS.index(500)] == 1
    assert sum(queues["low"][BUCKETS:]) == 0


def test_what_is_to_be_written_is_what_is_new() -> None:
    """What was not written is there the next time, with what has come."""
    tally = Tally()
    tally.succeeded([("Send", "mail", 1, None)])
    first = tally.unwritten()
    assert tally.unwritten() == first
    assert {key: record[RUNS] for key, record in first.items()} == {
        (TASKS, "Send"): 1,
        (QUEUES, "mail"): 1,
    }
    tally.succeeded([("Send", "mail", 1, None)] * 2)
    tally.written(first)
    assert tally.unwritten()[TASKS, "Send"][RUNS] == 2
    tally.written(tally.unwritten())
    assert tally.unwritten() == {}
    assert tally.records(TASKS)["Send"][RUNS] == 3


def test_names_are_bounded() -> None:
    """Anybody may enqueue jobs of any name."""
    tally = Tally()
    tally.succeeded((f"T{n}", "q", 1, None) for n in range(12_000))
    records = tally.records(TASKS)
    assert len(records) == MOST_NAMES + 1
    assert records[OTHERS][RUNS] == 12_000 - MOST_NAMES
    assert sum(record[RUNS] for record in records.values()) == 12_000


@pytest.mark.parametrize("kind", [TASKS, QUEUES])
def test_many_names_of_one_kind_take_none_of_the_other(kind: str) -> None:
    """A queue for each customer leaves the tasks theirs, and the other way round."""
    tally, other = Tally(), QUEUES if kind == TASKS else TASKS
    names = [("one", f"tenant-{n}") for n in range(3 * MOST_NAMES)]
    runs = names if kind == QUEUES else [(queue, task) for task, queue in names]
    tally.succeeded((*each, 1, None) for each in runs)
    assert tally.records(kind).keys() == {*(f"tenant-{n}" for n in range(MOST_NAMES)), OTHERS}
    tally.failed(("late", "late", 1, None))
    tally.note(LOST, "later", "later")
    assert tally.records(other).keys() == {"one", "late", "later"}
    assert tally.records(kind)[OTHERS][RUNS] == 2 * MOST_NAMES + 1
    assert "late" not in tally.records(kind)


def test_it_is_written_from_another_thread() -> None:
    """While jobs go on, nothing is counted twice or not at all."""
    tally, over = Tally(), threading.Event()
    written = 0

    def write() -> None:
        nonlocal written
        while True:
            last = over.is_set()
            part = tally.unwritten()
            tally.written(part)
            written += part.get((TASKS, "Send"), new_record())[RUNS]
            if last:
                return

    thread = threading.Thread(target=write)
    thread.start()
    for n in range(3000):
        tally.succeeded([("Send", "mail", n, None), ("Send", "mail", 1, None)])
        tally.failed(("Send", "mail", n, None))
    over.set()
    thread.join()
    assert written == 9000
