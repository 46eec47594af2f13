"""Behind the real nginx: below a path that it takes off or not, over http and https."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.cli.conftest import Program, client, environ, program, resqpy, root
from tests.support.foreign import INTEROP
from tests.support.waiting import wait_until
from tests.web import hostile

__all__ = ["client", "environ", "program", "resqpy", "root"]
NGINX = shutil.which("nginx")
PEM = INTEROP / "node" / "exh.test.pem"
CONFIG = """
daemon off; error_log stderr; pid {folder}/pid;
events {{ worker_connections 64; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{http}; listen 127.0.0.1:{https} ssl; ssl_certificate {pem}; ssl_certificate_key {pem};
    location /jobs/ {{
      proxy_pass {console}{ending};
      proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-For $remote_addr;
      proxy_set_header X-Forwarded-Proto $scheme;
      proxy_http_version 1.1;
    }}
  }}
}}
"""
pytestmark = pytest.mark.skipif(
    NGINX is None, reason="no nginx here (Debian: apt-get install nginx)"
)


def free_ports(number: int) -> list[int]:
    """Ports that were free a moment ago."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


@pytest.fixture(params=["", "/"], ids=["keeps the path", "takes it off"])
def bases(
    request: pytest.FixtureRequest, program: Program, tmp_path: Path
) -> Iterator[tuple[str, str, str]]:
    """The addresses of nginx by http and https, and the code of a link."""
    ending: str = request.param
    served = program(
        "web", "--port", "0", "--root-path", "/jobs", "--trusted-proxy", "127.0.0.1",
        "--public-host", "localhost",
    )  # fmt: skip
    assert served.stdout is not None
    line = served.stdout.readline()
    code = line.rpartition("code=")[2].strip()
    found = re.search(r":(\d+)/jobs/login", line)
    assert found is not None, line
    http, https = free_ports(2)
    config = tmp_path / "nginx.conf"
    config.write_text(
        CONFIG.format(
            folder=tmp_path, http=http, https=https, pem=PEM, ending=ending,
            console=f"http://127.0.0.1:{found[1]}",
        )
    )  # fmt: skip
    log = (tmp_path / "log").open("w")
    nginx = subprocess.Popen(
        [str(NGINX), "-p", str(tmp_path), "-c", str(config), "-e", "stderr"], stderr=log
    )

    def answers() -> bool:
        assert nginx.poll() is None, (tmp_path / "log").read_text()
        with socket.socket() as tried:
            return tried.connect_ex(("127.0.0.1", https)) == 0

    try:
        wait_until(answers)
        yield f"http://localhost:{http}", f"https://localhost:{https}", code
    finally:
        nginx.terminate()
        nginx.wait(60)
        log.close()


def read(browser: httpx2.Client, path: str) -> httpx2.Response:
    """A page, also one that says at first that it counts."""

    def counted() -> httpx2.Response | None:
        answer = browser.get(path)
        return None if answer.status_code == 202 else answer

    answer = wait_until(counted)
    assert answer is not None
    return answer


@pytest.mark.parametrize("secure", [False, True], ids=["http", "https"])
def test_the_console_behind_nginx(
    bases: tuple[str, str, str], client: Any, *, secure: bool
) -> None:
    """Who signs in there sees all and changes something; a foreign page does not; no stream is held back."""
    base = bases[secure]
    client.sadd("resque:queues", "mail", "a/b")
    client.rpush("resque:queue:mail", '{"class":"Send","args":[]}')
    with httpx2.Client(base_url=base, headers={"origin": base}, verify=False) as browser:
        signed_in = browser.post("/jobs/login", data={"code": bases[2]})
        assert (signed_in.status_code, signed_in.headers["location"]) == (303, "/jobs/")
        cookie = signed_in.headers["set-cookie"]
        assert (cookie.startswith("__Host-resqpy="), "Secure" in cookie) == (secure, secure)

        waiting, seen = ["/jobs/"], set[str]()
        while waiting:
            if (path := waiting.pop()) in seen:
                continue
            answer = read(browser, path)
            assert answer.status_code == 200, (path, answer.text[-500:])
            seen.add(path)
            if answer.headers["content-type"].startswith("text/html"):
                page = hostile.read(answer.text)
                links = [each for each in page.links if not each.startswith("#")]
                assert [each for each in links + page.forms if not each.startswith("/jobs/")] == []
                waiting += links
        assert {"/jobs/queues/~YS9i", "/jobs/workers", "/jobs/audit"} <= seen

        paused = browser.post("/jobs/queues/mail/pause", data={"reason": "x"})
        assert paused.headers["location"].startswith("/jobs/queues/mail?done=paused")
        for origin in ("http://evil.test", "null", base.replace("localhost", "127.0.0.1")):
            foreign = browser.post(
                "/jobs/queues/mail/resume", data={"x": ""}, headers={"origin": origin}
            )
            assert foreign.status_code == 403, origin
            assert "proxy_set_header Host" in foreign.text
        assert browser.get("/jobs/", headers={"host": "evil.test"}).status_code == 421
        with browser.stream("GET", "/jobs/api/v1/events") as stream:
            assert next(stream.iter_text()).startswith("retry:")
