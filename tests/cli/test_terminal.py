"""What a person sees on a terminal: `resqpy top`, the bar of long walks, questions and their answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from redis import Redis

from resqpy.cli.output.printing import Exit
from resqpy.embedded import PrivateServer
from tests.support.pty_program import PtyProgram

JOB = b'{"class":"mail","queue":"mail","args":[]}'
OTHER_SCREEN, OLD_SCREEN = "\x1b[?1049h", "\x1b[?1049l"

OnTerminal = Callable[..., PtyProgram]


@pytest.fixture
def on_terminal(environ: dict[str, str], root: Path) -> Iterator[OnTerminal]:
    """Start a command on a terminal; it ends with the test."""
    started: list[PtyProgram] = []

    def start(*arguments: str, size: tuple[int, int] = (80, 24), **more: str) -> PtyProgram:
        started.append(PtyProgram(*arguments, env={**environ, **more}, cwd=str(root), size=size))
        return started[-1]

    yield start
    for each in started:
        each.__exit__(None, None, None)


@pytest.mark.parametrize("key", ["q", "\x03"])
def test_top_has_the_terminal_and_gives_it_back(
    on_terminal: OnTerminal, client: Redis, key: str
) -> None:
    """Its own screen, no cursor, single keys; q and Ctrl-C end it, and all is as it was."""
    client.sadd("resque:queues", "mail")
    client.rpush("resque:queue:mail", JOB)
    top = on_terminal("top", "--interval", "100ms")
    before = top.modes()

    top.wait_for("mail")
    meanwhile = top.modes()
    top.press(key)

    assert top.ended() == Exit.OK
    assert meanwhile != before
    assert top.modes() == before
    assert top.seen.index(OTHER_SCREEN) < top.seen.index(OLD_SCREEN)
    assert top.seen.rstrip().endswith(("\x1b[?25h" + OLD_SCREEN, "^C"))
    assert "Traceback" not in top.seen


def test_top_fits_into_any_size(on_terminal: OnTerminal, client: Redis) -> None:
    """Another size is drawn at once; no line is wider, and there are no more lines."""
    for n in range(40):
        client.sadd("resque:queues", f"queue-with-a-very-long-name-to-be-cut-somewhere-{n}")
    top = on_terminal("top", "--interval", "1m", size=(100, 40))
    drawn = top.wait_for("at work")

    top.resize(40, 12)
    end = top.wait_for("at work", after=drawn)
    screen = top.seen[drawn:end].partition("\x1b[H")[2].partition("\x1b[J")[0]
    lines = [_plain(line) for line in screen.split("\r\n")]
    top.press("q")

    assert top.ended() == Exit.OK
    assert len(lines) <= 12
    assert max(map(len, lines)) <= 40
    assert any("more" in line for line in lines)


def test_top_waits_for_a_redis_that_is_away(environ: dict[str, str], root: Path) -> None:
    """It says so, keeps what it saw, and goes on when Redis is back."""
    with PrivateServer() as server:
        client = Redis.from_url(server.url)
        client.sadd("resque:queues", "mail")
        env = {**environ, "REDIS_URL": server.url}
        with PtyProgram("top", "--interval", "100ms", env=env, cwd=str(root)) as top:
            top.wait_for("mail")
            client.config_set("maxclients", 1)
            client.client_kill_filter(_type="normal", skipme=True)
            gone = top.wait_for("retrying")
            client.config_set("maxclients", 100)
            top.wait_for("\x1b[Hwaiting 0", after=gone)
            top.press("q")

            assert top.ended() == Exit.OK


def test_a_long_walk_has_a_bar(on_terminal: OnTerminal, client: Redis) -> None:
    """How far it is, of how many; it goes without a trace, and the result stands alone."""
    client.sadd("resque:queues", "mail")
    for _ in range(20):  # enough for a machine that is quick: each of them is read
        client.rpush("resque:queue:mail", *[JOB] * 10_000)

    walk = on_terminal("jobs", "mail", "--class", "mail", "--offset", "999999", size=(100, 24))
    walk.wait_for("of 200,000  queue:mail")

    assert walk.ended() == 0
    assert "█" in walk.seen
    assert walk.seen.rpartition("\r\x1b[K")[2].strip() == "no such jobs"


@pytest.mark.parametrize("command", ["delayed remove", "jobs remove mail"])
def test_what_deletes_has_a_bar(on_terminal: OnTerminal, client: Redis, command: str) -> None:
    """After the question, while it deletes."""
    client.sadd("resque:queues", "mail")
    fill = """for n = 1, ARGV[1] do
        redis.call('ZADD', 'resque:delayed_queue_schedule', 4e9 + n, string.format('%.0f', 4e9 + n))
        redis.call('RPUSH', string.format('resque:delayed:%.0f', 4e9 + n), ARGV[2])
        redis.call('RPUSH', 'resque:queue:mail', ARGV[2], ARGV[2], ARGV[2], ARGV[2])
    end"""
    client.eval(fill, 0, 30_000, JOB)

    deleting = on_terminal(*command.split(), "--class", "mail", size=(100, 24))
    asked = deleting.wait_for("[y/N]:")
    deleting.press("y\r")

    assert deleting.ended() == 0
    assert "█" in deleting.seen[asked:]
    assert "30,000 delayed jobs removed" in deleting.seen or "120,000 jobs removed" in deleting.seen


def test_a_question_is_asked_on_a_terminal(on_terminal: OnTerminal, client: Redis) -> None:
    """No is the answer of who only presses return or Ctrl-C; nothing is done then."""
    client.sadd("resque:queues", "mail")
    client.rpush("resque:queue:mail", JOB)
    codes = []
    for answer in ("\r", "\x03", "y\r"):
        asked = on_terminal("queues", "delete", "mail")
        asked.wait_for("Delete the queue 'mail' with 1 job? [y/N]:")
        asked.press(answer)
        codes.append((asked.ended(again=answer), client.exists("resque:queue:mail")))
        assert "Traceback" not in asked.seen

    assert codes == [(Exit.NO, 1), (Exit.INTERRUPTED, 1), (0, 0)]


def test_a_narrow_terminal_cuts_the_last_column(on_terminal: OnTerminal, client: Redis) -> None:
    """Signs that take two columns count as two."""
    client.sadd("resque:queues", "mail")
    client.rpush("resque:queue:mail", '{"class":"mail","args":["%s"]}' % ("漢字👋" * 30))

    shown = on_terminal("jobs", size=(60, 24))

    assert shown.ended() == 0
    line = _plain(shown.seen.strip().splitlines()[-1])
    assert line.endswith("…")
    assert sum(2 if sign in "漢字👋" else 1 for sign in line) <= 60


def _plain(line: str) -> str:
    """A line without colours and the like."""
    import re

    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", line)
