"""The API of `resqpy web` as programs use it: tokens by commands, requests by HTTP, streams that end with it."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import httpx2
import pytest

from resqpy.embedded import PrivateServer
from tests.cli.conftest import Call, Program, client, environ, program, resqpy, root

__all__ = ["client", "environ", "program", "resqpy", "root"]

STREAMS = 100  # as many as a process serves


def test_tokens_are_made_listed_and_revoked(resqpy: Call) -> None:
    """The secret is shown once."""
    made = resqpy(
        "web", "token", "create", "shop", "--scope", "enqueue:SendMail", "--expires", "30d"
    )
    wrong = resqpy("web", "token", "create", "other", "--scope", "enqeue")
    listed = resqpy("web", "token", "list", "--json")
    revoked = resqpy("web", "token", "revoke", listed.json[0]["id"])
    again = resqpy("web", "token", "revoke", "shop")

    assert re.fullmatch(r"rsq_\S{43}\n", made.out)
    assert (wrong.code, "did you mean 'enqueue'" in wrong.err) == (2, True)
    assert (listed.json[0]["name"], listed.json[0]["scopes"]) == ("shop", ["enqueue:SendMail"])
    assert listed.json[0]["expires"] is not None
    assert made.out.strip() not in listed.out
    assert (revoked.code, again.code) == (0, 5)


def test_a_project_s_task_is_enqueued_by_http(resqpy: Call, program: Program) -> None:
    """With its checks, by a token that may do nothing else."""
    token = resqpy("web", "token", "create", "shop", "--scope", "enqueue:sendMail").out.strip()
    with httpx2.Client(base_url=address(program), headers=bearer(token)) as shop:
        right = shop.post("/api/v1/jobs", json={"task": "sendMail", "inputs": {"to": "a@b"}})
        wrong = shop.post("/api/v1/jobs", json={"task": "sendMail", "inputs": {"to": "a"}})
        other = shop.get("/api/v1/queues")

    assert (right.status_code, wrong.status_code, other.status_code) == (201, 422, 403)
    jobs = resqpy("jobs", "default", "--json").json
    assert [each["args"] for each in jobs] == [[{"to": "a@b"}]]


def test_a_signal_ends_it_while_streams_are_open(resqpy: Call, program: Program) -> None:
    """In order: their clients see an end, and nothing is logged as an error."""
    token = resqpy("web", "token", "create", "watch", "--scope", "read").out.strip()
    served = program("web", "--port", "0")
    assert served.stdout is not None
    base = place_in(served.stdout.readline())
    limits = httpx2.Limits(max_connections=None)
    with httpx2.Client(base_url=base, headers=bearer(token), timeout=100, limits=limits) as watch:
        open_streams = [watch.stream("GET", "/api/v1/events") for _ in range(STREAMS)]
        answers = [each.__enter__() for each in open_streams]
        reads = [answer.iter_text() for answer in answers]
        first = [next(read) for read in reads]
        assert watch.get("/api/v1/events").status_code == 503  # one more
        assert watch.get("/").status_code == 200  # pages go on
        served.send_signal(signal.SIGTERM)
        rest = ["".join(read) for read in reads]
        for each in open_streams:
            each.__exit__(None, None, None)

    assert {each.partition("\n")[0] for each in first} == {"retry: 5000"}
    assert len(rest) == STREAMS
    out, err = served.communicate(timeout=100)
    assert (out, served.returncode) == ("", 0)
    assert "ERROR" not in (err or "")


@pytest.mark.parametrize("trouble", ["kill", "pause"])
def test_a_signal_ends_it_where_redis_is_away(
    resqpy: Call, program: Program, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    """Gone, or silent, while a stream is about to begin: it ends, rather than wait for Redis."""
    with PrivateServer() as server:
        monkeypatch.setenv("REDIS_URL", server.url)
        token = resqpy("web", "token", "create", "watch", "--scope", "read").out.strip()
        served = program("web", "--port", "0", REDIS_URL=server.url)
        assert served.stdout is not None
        base = place_in(served.stdout.readline())
        with (
            httpx2.Client(base_url=base, headers=bearer(token), timeout=100) as watch,
            watch.stream("GET", "/api/v1/events") as answer,
        ):
            read = answer.iter_text()
            assert next(read).startswith("retry: 5000")
            getattr(server, trouble)()
            if trouble == "kill":
                assert watch.get("/").status_code == 503
            served.send_signal(signal.SIGTERM)
            for _ in read:
                pass
        out, _ = served.communicate(timeout=100)
        assert (served.returncode, "Traceback" in out) == (0, False)
        if trouble == "pause":
            server.resume()


def test_an_empty_folder_gets_a_redis_of_its_own(program: Program, tmp_path: Path) -> None:
    """With the console of it, in which the link signs in; all commands find it. Any other folder is wrong."""
    here, other = tmp_path / "empty", tmp_path / "other"
    here.mkdir()
    other.mkdir()
    (other / "letter.txt").touch()
    nothing = {"REDIS_URL": "", "RESQPY_ROOT": ""}
    refused = program("web", "--port", "0", cwd=other, **nothing)
    served = program("web", "--port", "0", cwd=here, **nothing)
    assert served.stdout is not None
    lines = iter(served.stdout.readline, "")
    link = next(found[0] for line in lines if (found := re.search(r"http://127\S+", line)))
    with httpx2.Client(base_url=link.partition("/login")[0], timeout=100) as browser:
        page = browser.get(link)
        form = {"code": link.partition("code=")[2]}
        browser.post("/login", data=form, headers={"origin": str(browser.base_url).rstrip("/")})
        overview = browser.get("/")
    listed = program("queues", "--json", cwd=here, **nothing).communicate(timeout=100)[0]

    assert (page.status_code, overview.status_code) == (200, 200)
    assert "Overview" in overview.text
    assert listed.endswith("[]\n")
    assert "there is no project" in refused.communicate(timeout=100)[0]
    assert [each.name for each in (*here.iterdir(), *other.iterdir())] == [".resqpy", "letter.txt"]
    served.send_signal(signal.SIGTERM)
    served.communicate(timeout=100)


def bearer(token: str) -> dict[str, str]:
    """The header of a request with a token."""
    return {"authorization": f"Bearer {token}"}


def address(program: Program) -> str:
    """Where a new console is."""
    served = program("web", "--port", "0")
    assert served.stdout is not None
    return place_in(served.stdout.readline())


def place_in(line: str) -> str:
    """The address in the line that it prints."""
    found = re.search(r"http://127\.0\.0\.1:\d+", line)
    assert found is not None, line
    return found[0]
