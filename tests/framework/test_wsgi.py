"""A synchronous application: Flask under a server with a thread for each request."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from flask import Flask, request
from redis import Redis
from werkzeug.serving import make_server

from resqpy import SyncQueue


@pytest.fixture
def queue(redis_url: str) -> Iterator[SyncQueue]:
    """What the application's module has."""
    with SyncQueue(redis_url) as made:
        yield made


@pytest.fixture
def port(queue: SyncQueue) -> Iterator[int]:
    """Where the application is served."""
    app = Flask(__name__)

    @app.post("/users")
    def create_user() -> dict[str, object]:
        to = request.args["to"]
        enqueued = queue.enqueue("default", "sendWelcomeEmail", [{"to": to}])
        return {"enqueued": enqueued, "thread": threading.get_ident()}

    @app.get("/waiting")
    def waiting() -> list[object]:
        return [job.args[0]["to"] for job in queue.each_queued("default")]

    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


def test_requests_in_many_threads(port: int, redis_url: str) -> None:
    """Every request's job is there once, and they have one connection together."""

    def ask(method: str, path: str) -> bytes:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=100)
        connection.request(method, path)
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        assert answer.status == 200, body
        return body

    with Redis.from_url(redis_url) as plain:
        before = plain.info("clients")["connected_clients"]
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda n: ask("POST", f"/users?to={n}@x"), range(80)))
        assert plain.info("clients")["connected_clients"] == before + 1
        assert plain.llen("resque:queue:default") == 80

    assert len(set(answers)) > 1  # in several threads
    assert ask("GET", "/waiting").count(b"@x") == 80
