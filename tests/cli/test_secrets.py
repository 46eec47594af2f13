"""No secret is printed: neither of the Redis URL, nor of inputs, results and errors, nor in the process list."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from redis import Redis

from resqpy.cli.main import without_login
from resqpy.cli.output.printing import Exit
from tests.cli.conftest import Call, Program
from tests.support.waiting import wait_for

NEVER = "S3CR37"
INPUTS = {
    "to": "a@b",
    "password": NEVER,
    "pin_code": NEVER,
    "deep": [{"accessToken": NEVER}],
    "url": f"postgres://u:{NEVER}@db/x and https://{NEVER}@git/x?api_key={NEVER}",
}
LOOKS = [
    "jobs", "delayed", "failed list", "failed groups", "failed show {id}", "workers", "locks",
    "task explain sendMail", "tracked list", "tracked get {task}", "doctor --jobs", "info", "config show",
]  # fmt: skip


@pytest.fixture
def secrets(client: Redis, root: Path, resqpy: Call) -> dict[str, str]:
    """Inputs with secrets wherever inputs stand; the names under which two of them are shown."""
    (root / "config").mkdir()
    (root / "config" / "logger.py").write_text(
        "def default():\n    return {'filtered': ['password', 'token', 'pin_code']}\n"
    )
    job = {"class": "sendMail", "queue": "default", "args": [INPUTS]}
    client.sadd("resque:queues", "default")
    client.rpush("resque:queue:default", json.dumps(job))
    second = int(time.time()) + 100
    client.zadd("resque:delayed_queue_schedule", {str(second): second})
    client.rpush(f"resque:delayed:{second}", json.dumps(job))
    failed = {
        "failed_at": "2026/01/01 00:00:00", "payload": job, "exception": "Error", "worker": "h:1:q",
        "error": f"can't use {INPUTS!r}", "backtrace": [json.dumps(INPUTS)], "queue": "default",
    }  # fmt: skip
    client.rpush("resque:failed", json.dumps(failed))
    client.sadd("resque:workers", "h:1:default")
    working = {"queue": "default", "run_at": "2026-01-01T00:00:00Z", "payload": job}
    client.set("resque:worker:h:1:default", json.dumps(working))
    client.set(f"resque:lock:sendMail:default:{json.dumps([INPUTS])}", int(time.time()) + 99)
    made = resqpy("tracked", "create", "sendMail", json.dumps(INPUTS), "--any-type", "--json")
    assert NEVER not in made.out
    return {"id": resqpy("failed", "list", "--json").json[0]["id"], "task": made.json["id"]}


@pytest.mark.parametrize("command", LOOKS)
def test_inputs_are_redacted_by_one_rule(
    secrets: dict[str, str], resqpy: Call, command: str
) -> None:
    """That of the log, with the words of the project's config; for people and for programs."""
    for more in ([], ["--json"]):
        said = resqpy(*command.format(**secrets).split(), *more)

        assert said.code in {Exit.OK, Exit.NO}, said
        assert NEVER not in said.out + said.err, more


@pytest.mark.parametrize("sign", ["/", "?", "#", "[", "@"])
@pytest.mark.parametrize("scheme", ["redis", "rediss", "unix"])
def test_a_malformed_url_is_not_quoted(
    resqpy: Call, scheme: str, sign: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a flag, by a variable, with the tracebacks of --debug."""
    url = f"{scheme}://user:abc{sign}{NEVER}@127.0.0.1:1/0"
    said = [resqpy("queues", "-r", url)]
    monkeypatch.setenv("REDIS_URL", url)
    said += [resqpy("queues"), resqpy("config", "show", "redis"), resqpy("doctor")]
    monkeypatch.setenv("REDIS_URL", "")
    monkeypatch.setenv("RESQPY_REDIS_HOST", f"user:abc{sign}{NEVER}@127.0.0.1")
    said.append(resqpy("queues"))

    assert NEVER not in "".join(each.out + each.err for each in said)
    assert all(each.code for each in said if each.out == "")


def test_a_malformed_url_in_a_config_file(
    resqpy: Call, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a URL, among the Sentinels, as a password that is no text."""
    monkeypatch.setenv("REDIS_URL", "")
    (root / "config").mkdir()
    for setting in (
        {"url": f"redis://:a/{NEVER}@h"}, {"sentinels": [f"redis://:{NEVER}@h:1"]},
        {"host": "h", "password": [NEVER]}, {"sentinels": f"redis://:{NEVER}/@h"},
        {"sentinel_options": NEVER}, {"host": f"redis://:{NEVER}@h"}, {"host": "h", "db": f"x://:{NEVER}@"},
    ):  # fmt: skip
        (root / "config" / "redis.py").write_text(f"def default():\n    return {setting!r}\n")
        said = resqpy("queues")

        assert said.code in {Exit.PROJECT, Exit.REDIS}, setting
        assert NEVER not in said.out + said.err, setting


@pytest.mark.parametrize("form", ["-r {}", "--redis {}", "--redis={}", "-r{}"])
async def test_a_login_is_not_in_the_process_list(
    program: Program, redis_url: str, client: Redis, form: str
) -> None:
    """A Redis URL with a login goes to the environment, and works."""
    parts = urlsplit(redis_url)
    given = form.format(f"{parts.scheme}://default:{NEVER}@{parts.netloc}{parts.path}").split()
    worker = program(
        "worker", "--queues", "q", "--max", "1", *given, REDIS_URL="redis://127.0.0.1:1"
    )
    await wait_for(lambda: client.scard("resque:workers") == 1)

    shown = await asyncio.to_thread(Path(f"/proc/{worker.pid}/cmdline").read_bytes)
    assert b"worker" in shown
    assert NEVER.encode() not in shown


def test_other_words_of_a_command_line_stay() -> None:
    """Only a Redis URL with a login is taken out; of several, the last counts."""
    words = ["resqpy", "task", "enqueue", "x", "-r", "redis://h", "url=redis://:p@h", "--", "-rx"]

    assert without_login(words) == (words, None)
    assert without_login(["a", "-r", "redis://:p@h", "--redis=unix://u:q@/s", "b"]) == (
        ["a", "b"],
        "unix://u:q@/s",
    )
