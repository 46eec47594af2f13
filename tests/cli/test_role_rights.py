"""Each key of the installation and each user of Redis: who may read it, who may write it, in one table. Redis
says it by `ACL DRYRUN`, without running anything.
"""

from __future__ import annotations

import re
from functools import cached_property

import pytest

from resqpy.base.keys import Keys
from resqpy.embedded import PrivateServer
from resqpy.embedded.process import find_binary, major_version
from tests.cli.roles import ROLES, TEMPLATE, Guarded, users
from tests.support.source import ROOT

KEYS = Keys()
NO_KEYS = {"key", "own", "named", "delayed_member", "events"}

# By the name in `Keys`: what producer, worker, scheduler and viewer may. `r`: read, `w`: write, `-`: nothing.
# The console may what a scheduler may.
RIGHTS = {
    "queues": "rw rw rw r",
    "queue": "rw rw rw r",
    "schedule": "rw rw rw r",
    "delayed": "rw rw rw r",
    "timestamps": "rw rw rw r",
    "queue_lock": "rw rw rw r",
    "once": "rw rw rw r",
    "job_lock": "rw rw rw r",
    "ruby_lock": "rw rw rw r",
    "resque_lock": "rw rw rw r",
    "ruby_retry": "- rw rw r",
    "task": "rw rw rw r",
    "task_locks": "rw rw rw r",
    "tasks_scheduled": "rw rw rw r",
    "tasks_pending": "rw rw rw r",
    "tasks_expiring": "rw rw rw r",
    "tasks_by": "rw rw rw r",
    # who works
    "workers": "- rw rw r",
    "worker": "- rw rw r",
    "worker_started": "- rw rw r",
    "ping": "- rw rw r",
    "heartbeats": "- rw rw r",
    "stat": "- rw rw r",
    "failed": "- rw rw r",
    "failed_list": "- rw rw r",
    "failed_queues": "- rw rw r",
    "retry": "- rw rw r",
    "retry_failure": "- rw rw r",
    "php_status": "- rw rw r",
    "ruby_status": "- rw rw r",
    "ruby_kills": "- rw rw r",
    "pause": "- rw rw r",
    "queue_pause": "- rw rw r",
    "running_limits": "- rw rw r",
    "limit_holders": "- rw rw r",
    "limit_checked": "- rw rw r",
    "limit_notes": "- rw rw r",
    "limit_slots": "- rw rw r",
    "limit_holds": "- rw rw r",
    "limit_foreign": "- rw rw r",
    "parked": "rw rw rw r",
    "parked_jobs": "rw rw rw r",
    "parked_queues": "- rw rw r",
    "parked_ready": "- rw rw r",
    "history": "- rw rw r",
    "ages": "- r rw r",
    "age_marks": "- - rw r",
    "limit_used": "- rw rw r",
    "limit_wakes": "- rw rw r",
    "migration": "- rw rw r",
    "shadows": "- rw rw r",
    "limit_lease": "- rw rw r",
    "processes": "- rw rw r",
    "known_tasks": "- rw rw r",
    "process_state": "- rw rw r",
    "orders": "- rw rw r",
    "order_answers": "- rw rw r",
    "gates": "- rw rw r",
    "lives": "- rw rw r",
    "rescuer": "- rw rw r",
    "searched": "- rw rw r",
    "held": "- rw rw r",
    "unreadable": "- rw rw r",
    "job_locks": "- rw rw r",
    "at_most_once": "- rw rw r",
    "rescues": "- rw rw r",
    "junk": "- rw rw r",
    # who uses the console
    "web": "- - rw r",
    "web_users": "- - rw r",
    "web_tokens": "- - rw r",
    "web_tokens_used": "- - rw r",
    "web_removed": "- - rw r",
    "web_known": "- - rw r",
    "web_runs": "- - rw r",
    "audit": "- - rw r",
    # what runs by itself
    "periodic_tasks": "- rw rw r",
    "periodic_seen": "- rw rw r",
    "periodic_due": "- rw rw r",
    "periodic_out": "- rw rw r",
    "periodic_jobs": "- rw rw r",
    "periodic_stopped": "- rw rw r",
    "periodic_paused": "- rw rw r",
    "periodic_last": "- rw rw r",
    "cron": "- rw rw r",
    "persistent_schedules": "- - rw r",
    "schedules_changed": "- - rw r",
    "last_enqueued_at": "- - rw r",
    "fires": "- - rw r",
    "ruby_next": "- - rw r",
    "ruby_paused": "- - rw r",
    # who leads
    "leader": "- r rw r",
    "leader_epoch": "- r rw r",
    "leader_foreign": "- r rw r",
    "ruby_leader": "- r rw r",
    "node_leader": "- r rw r",
    "claimed": "- - rw r",
    "pruning": "- - rw r",
}
SAMPLES = {
    "failed_list": "alpha_failed",
    "delayed": "1700000000",
    "job_lock": "c",
    "tasks_by": "created",
}

SCRIPT = ("EVALSHA", "0" * 40, "1", KEYS.queues)
# What is asked of no key of the table; then who may.
COMMANDS: dict[tuple[str, ...], str] = {
    SCRIPT: "producer worker scheduler console",
    ("SCRIPT", "LOAD", "return 1"): "producer worker scheduler console",
    ("MULTI",): "producer worker scheduler console",
    ("WAIT", "1", "10"): "producer worker scheduler viewer console",
    ("PUBLISH", KEYS.events, "x"): "producer worker scheduler console",
    ("PUBLISH", KEYS.own("control"), "x"): "worker scheduler console",
    ("SUBSCRIBE", KEYS.own("control")): "worker scheduler console",
    ("SUBSCRIBE", "__redis__:invalidate"): "worker scheduler console",
    ("CLIENT", "TRACKING", "ON"): "producer worker scheduler viewer console",
    ("SUBSCRIBE", KEYS.events): "producer worker scheduler viewer console",
    ("PING",): "producer worker scheduler viewer console",
    ("INFO",): "producer worker scheduler viewer console",
    ("TIME",): "producer worker scheduler viewer console",
    ("SCAN", "0"): "worker scheduler viewer console",
    ("XREVRANGE", KEYS.audit, "+", "-"): "viewer console",
    ("SET", KEYS.ruby_lock("x", "y", "loner:"), "1"): "producer worker scheduler console",
    ("GETEX", KEYS.own("x")): "console",
    ("XADD", KEYS.own("x"), "*", "a", "b"): "console",
    ("DBSIZE",): "scheduler viewer console",
    **dict.fromkeys(
        [("EVAL", "return 1", "0"), ("EVAL_RO", "return 1", "0"), ("EVALSHA_RO", "0" * 40, "0"),
         ("FCALL", "f", "0"), ("FCALL_RO", "f", "0"), ("FUNCTION", "LIST"), ("SCRIPT", "FLUSH"),
         ("SCRIPT", "KILL"), ("FLUSHALL",), ("FLUSHDB",), ("KEYS", "*"), ("CONFIG", "GET", "*"),
         ("ACL", "LIST"), ("ACL", "SETUSER", "x"), ("MONITOR",), ("SHUTDOWN",), ("DEBUG", "SLEEP", "1"),
         ("CLIENT", "KILL", "ID", "1"), ("REPLICAOF", "NO", "ONE"), ("GET", "other:key"),
         ("DEL", "other:key"), ("PUBLISH", "other", "x"), ("SUBSCRIBE", "other")], "",
    ),
}  # fmt: skip


def test_who_may_do_what() -> None:
    """On a Redis that can tell: 7.0 and later."""
    binary = find_binary()
    if major_version(binary) < 7:
        pytest.skip("Redis 6.2 knows no ACL DRYRUN and no rights to read only")
    names = {each for each in vars(Keys) if not each.startswith("_")} - NO_KEYS
    assert names == set(RIGHTS)

    wrong: list[str] = []
    with PrivateServer(binary=binary, config=users(binary)) as server:
        redis = Guarded(server).redis

        def ask(role: str, *command: str | bytes) -> bool:
            told: bytes = redis.execute_command("ACL DRYRUN", role, *command)  # type: ignore[no-untyped-call]
            return told == b"OK"

        for name, rights in RIGHTS.items():
            for role, expected in zip(ROLES, [*rights.split(), rights.split()[2]], strict=True):
                key = _key(name)
                found = ("r" if ask(role, "GET", key) else "") + (
                    "w" if any(ask(role, *verb, key, "x") for verb in [("DEL",), ("SET",)]) else ""
                )
                if (found or "-") != expected:
                    wrong.append(f"{role} has {found or '-'} and should have {expected}: {name}")
        for command, roles in COMMANDS.items():
            may = [role for role in ROLES if ask(role, *command)]
            if may != roles.split():
                wrong.append(f"{' '.join(command)}: {may}, and should be {roles.split()}")

    assert wrong == []


def _key(name: str) -> str | bytes:
    made = vars(Keys)[name]
    if isinstance(made, cached_property):
        return str(getattr(KEYS, name))
    if name == "junk":
        return KEYS.junk(KEYS.lives)
    count = 3 if name in {"queue_lock", "job_lock"} else 1
    two = {
        "fires",
        "parked_jobs",
        "web",
        "web_removed",
        "ruby_lock",
        "ruby_retry",
        "resque_lock",
        "shadows",
    }
    count = 2 if name.startswith("retry") or name in two else count
    found: str | bytes = made(
        KEYS, *[SAMPLES.get(name, "x")] * (0 if name == "ruby_leader" else count)
    )
    return found


# Scripts that a worker does not run.
OPERATORS = {"put_back_parked.lua"}


@pytest.mark.parametrize("role", ["worker", "scheduler", "console"])
def test_each_command_of_our_scripts_is_allowed(role: str) -> None:
    """A command that a script asks without raising would be missed by no other test."""
    line = next(line for line in TEMPLATE.read_text().splitlines() if f"user {role} " in line)
    allowed = {word[1:] for word in line.split() if word.startswith("+")}
    scripts = [
        each
        for each in (ROOT / "resqpy").rglob("*.lua")
        if role != "worker" or each.name not in OPERATORS
    ]
    asked = {
        (match[1].lower(), each.name)
        for each in scripts
        for match in re.finditer(r"(?:redis\.p?call|\bask)\(\s*'(\w+)'", each.read_text())
    }
    assert {name for _, name in asked} >= {"exchange_keys.lua", "due.lua"}
    assert {each for each in asked if each[0] not in allowed} == set()
