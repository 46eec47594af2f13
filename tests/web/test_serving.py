"""`resqpy web` as a program."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest

from tests.cli.conftest import Call, Program, client, environ, program, resqpy, root

__all__ = ["client", "environ", "program", "resqpy", "root"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_link_that_it_prints_opens_the_console(
    program: Program, number: signal.Signals
) -> None:
    """And a signal ends it in order."""
    served = program("web", "--port", "0", RESQPY_ENV="staging")
    assert served.stdout is not None
    line = served.stdout.readline()
    found = re.search(r"(http://127\.0\.0\.1:\d+)/login\?code=(\S+)", line)
    assert found is not None, line
    with httpx2.Client(base_url=found[1], headers={"origin": found[1]}) as browser:
        assert browser.post("/login", data={"code": found[2]}).status_code == 303
        page = browser.get("/")
        assert (page.status_code, "staging" in page.text) == (200, True)
        css = re.search(r'href="(/static/[^"]+)"', page.text)
        assert css is not None
        assert "immutable" in browser.get(css[1]).headers["cache-control"]
    served.send_signal(number)
    assert served.communicate(timeout=100)[0] == ""
    assert served.returncode == 0


def test_it_is_not_open_to_other_machines_without_users(resqpy: Call) -> None:
    """With what to do."""
    said = resqpy("web", "--host", "0.0.0.0", "--port", "0")
    assert said.code == 2
    assert "resqpy web users add" in said.err


def test_a_taken_port_is_told(program: Program, resqpy: Call) -> None:
    """With its number."""
    served = program("web", "--port", "0")
    assert served.stdout is not None
    port = re.findall(r":(\d+)/", served.stdout.readline())[0]
    said = resqpy("web", "--port", port)
    assert (said.code, port in said.err) == (2, True)


def test_links_and_users(resqpy: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Made by commands."""
    assert re.fullmatch(r"http://127\.0\.0\.1:9/x/login\?code=\S{43}\n",
                        resqpy("web", "link", "--port", "9", "--root-path", "/x/").out)  # fmt: skip
    (tmp_path / "password").write_text("correct horse\n")
    with (tmp_path / "password").open() as given:
        monkeypatch.setattr(sys, "stdin", given)
        assert resqpy("web", "users", "add", "ann", "--role", "viewer").code == 0
    assert resqpy("web", "users", "--json").json == [{"name": "ann", "role": "viewer"}]
    assert resqpy("web", "users", "remove", "ann").code == 0
    assert resqpy("web", "users", "remove", "ann").code == 5


def test_resqpy_itself_does_not_know_the_console() -> None:
    """Neither importing it nor its help loads what the console needs."""
    code = (
        "import sys, resqpy, resqpy.cli.main as m\nm.run(['--help'])\n"
        "print([n for n in ('starlette', 'jinja2', 'uvicorn', 'resqpy.web') if n in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.splitlines()[-1] == "[]"


def test_without_the_extra_it_says_what_to_install(
    resqpy: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one line."""
    monkeypatch.setitem(sys.modules, "starlette", None)
    said = resqpy("web")
    assert (said.code, "pip install 'resqpy-jobs[web]'" in said.err) == (1, True)


def link_of(served: subprocess.Popen[str]) -> tuple[str, str]:
    """The address and the code that a program prints."""
    assert served.stdout is not None
    for line in served.stdout:
        found = re.search(r"the console is at (http://127\.0\.0\.1:\d+)/login\?code=(\S+)", line)
        if found is not None:
            return found[1], found[2]
    raise AssertionError("it ended without a link")


def test_start_serves_the_console_too(program: Program, root: Path) -> None:
    """It goes on with the new code after a change, for who has signed in."""
    served = program("start")
    base, code = link_of(served)
    with httpx2.Client(base_url=base, headers={"origin": base}) as browser:
        assert browser.post("/login", data={"code": code}).status_code == 303
        assert "1 worker" in re.sub(r"<[^>]*>|\s+", " ", browser.get("/workers").text)
        (root / "tasks" / "more.py").write_text("from resqpy import task\n")
        again, _ = link_of(served)
        cookies = dict(browser.cookies)
    with httpx2.Client(base_url=again, cookies=cookies) as browser:
        assert again != base or browser.get("/").status_code == 200
    served.send_signal(signal.SIGTERM)
    served.communicate(timeout=60)
    assert served.returncode == 0


def test_two_of_them_are_served_at_two_ports(program: Program) -> None:
    """And without reloading."""
    both = [program("start", "--no-reload", "--console", RESQPY_ENV="staging") for _ in range(2)]
    links = [link_of(each) for each in both]
    assert links[0][0] != links[1][0]
    for each in both:
        each.send_signal(signal.SIGTERM)
    for each in both:
        each.communicate(timeout=60)
        assert each.returncode == 0


def test_it_is_served_in_development_only(program: Program) -> None:
    """Unless it is asked for."""
    for flags, environment in (((), "staging"), (("--no-console",), "development")):
        served = program("start", "--no-reload", *flags, RESQPY_ENV=environment)
        assert served.stdout is not None
        while "process started" not in (line := served.stdout.readline()):
            assert line
        served.send_signal(signal.SIGTERM)
        assert "the console" not in served.communicate(timeout=60)[0]
