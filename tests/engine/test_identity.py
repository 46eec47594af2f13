"""Worker ids that Ruby doesn't prune and nobody confuses."""

from __future__ import annotations

import os
import socket

import pytest

from resqpy.base.model import WorkerId
from resqpy.engine.worker import identity


def test_the_host_part_names_the_slot_and_this_life() -> None:
    """`HOST+resqpy:PID-N-incarnation:queues`; it parses back as both languages read it."""
    made = identity.worker_id(3, "abc12345", "high,*")
    assert str(made) == f"{identity.host_name()}+resqpy:{os.getpid()}-3-abc12345:high,*"
    assert WorkerId.parse(str(made)) == made
    assert made.name == f"{identity.host_name()}+resqpy:{os.getpid()}-3-abc12345"
    assert identity.place_of(made) == (identity.host_name(), str(os.getpid()))


def test_all_slots_are_one_host_that_is_no_ruby_worker_s() -> None:
    """resque-web groups by what stands before the first colon; Ruby and PHP prune only where that is their
    own host's name.
    """
    made = [str(identity.worker_id(n, "abc12345", "q")) for n in (1, 2, 50)]
    [host] = {each.split(":")[0] for each in made}
    assert host != socket.gethostname()
    assert {WorkerId.parse(each).host for each in made} == {host}
    assert len({WorkerId.parse(each).name for each in made}) == 3  # and Node's names differ


def test_the_ids_of_a_process_are_made_from_its_life() -> None:
    """Also from one that a process of the version before has left, which said no form."""
    ids = [str(identity.worker_id(n, "abc12345", "a:b", "box")) for n in (1, 2)]
    assert identity.ids_of("abc12345", identity.life(2, "a:b", "box")) == ids
    before = b'{"host":"box","pid":7,"queues":"a:b","most":2}'
    assert identity.ids_of("abc12345", before) == ["box+1-abc12345:7:a:b", "box+2-abc12345:7:a:b"]
    assert identity.ids_of("abc12345", b'"what?"') == []


def test_a_leader_says_that_it_reads_our_ids() -> None:
    """One of an older version does not, whatever it is called."""
    assert identity.reads_our_ids(f"{identity.leader_name(None)}/7")
    assert identity.reads_our_ids(f"{identity.leader_name('box')}/7")
    assert not identity.reads_our_ids("box+scheduler-abcd1234:2/7")
    assert not identity.reads_our_ids("box+scheduler-abcd1234:22/2")


def test_a_queue_with_a_colon_stays_in_the_last_part() -> None:
    """Both languages split at the first two colons only."""
    made = identity.worker_id(1, "abc12345", "a:b,c")
    assert WorkerId.parse(str(made)).queues == "a:b,c"


def test_two_processes_with_one_name_and_pid_differ() -> None:
    """Containers all have pid 1; the incarnation tells them apart."""
    lives = {identity.new_incarnation() for _ in range(1000)}
    assert len(lives) == 1000
    assert all(len(life) == 8 and life.isalnum() for life in lives)


@pytest.mark.parametrize("host", ["::1", "a:b", "host,with,commas"])
def test_no_sign_of_a_host_breaks_an_id(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A colon or a comma in the host's name is replaced, given or found."""
    monkeypatch.setattr(socket, "gethostname", lambda: host)
    for made in (identity.worker_id(1, "i", "q"), identity.worker_id(1, "i", "q", host)):
        assert str(made).count(":") == 2
        assert WorkerId.parse(str(made)).pid == f"{os.getpid()}-1-i"


@pytest.mark.parametrize(
    ("worker_id", "number", "incarnation"),
    [
        ("web+3-abcd1234:7:a:b,c", 3, "abcd1234"),
        ("my-web+12-abcd1234:7:*", 12, "abcd1234"),
        ("web+resqpy:7-3-abcd1234:a:b,c", 3, "abcd1234"),
        ("web:7:mail", 0, None),  # Ruby's
        ("web:7+4:mail", 0, None),  # Node's
        ("web:7:a+1-abcd1234:7:q", 0, None),
        ("web+resqpy:7-abcd1234:mail", 0, None),
        ("web:7-3-abcd1234:JAVA_DYNAMIC_QUEUES", 0, None),  # as jesque's and goworker's
        ("web:7:+resqpy:7-3-abcd1234:mail", 0, None),  # what its queues are called is no sign
    ],
)
def test_both_forms_of_our_ids_are_read(
    worker_id: str, number: int, incarnation: str | None
) -> None:
    """During a deploy there may be workers of the next version beside us."""
    assert identity.number_of(WorkerId.parse(worker_id)) == number
    assert identity.incarnation_of(worker_id) == incarnation
