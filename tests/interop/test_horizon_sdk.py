"""The real SDK of Extra Horizon creates, finds and cancels tasks here."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from typing import Any

import pytest
import uvicorn

from resqpy.store.connection.options import RedisOptions
from resqpy.web import tokens
from resqpy.web.app import Console, ConsoleOptions
from tests.support.foreign import INTEROP
from tests.support.other_languages import require

NODE = INTEROP / "node"
PEM = NODE / "exh.test.pem"


def missing() -> str | None:
    """Why the SDK can't be run."""
    if shutil.which("node") is None:
        return "node is not on the PATH"
    there = (NODE / "node_modules" / "@extrahorizon" / "javascript-sdk").is_dir()
    return None if there else f"no SDK; run `npm ci` in {NODE}"


@asynccontextmanager
async def served(redis_url: str) -> AsyncIterator[tuple[Console, int]]:
    """A console over https, and its port."""
    options = ConsoleOptions(allowed_hosts=frozenset({"api.exh.test"}))
    console = Console(lambda: RedisOptions(url=redis_url), options)
    config = uvicorn.Config(
        console, port=0, log_config=None, lifespan="off", ssl_certfile=PEM, ssl_keyfile=PEM
    )
    server = uvicorn.Server(config)
    mine: Any = server
    mine.capture_signals = nullcontext  # signals are the tests'
    serving = asyncio.create_task(server.serve())
    try:
        while not server.started:
            assert not serving.done()
            await asyncio.sleep(0.01)
        yield console, server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        await serving
        await console.close()


async def sdk(port: int, token: str) -> Any:
    """What the SDK's calls gave."""
    process = await asyncio.create_subprocess_exec(
        "node", str(NODE / "exh.js"), json.dumps({"port": port, "token": token}),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env=os.environ | {"NODE_EXTRA_CA_CERTS": str(PEM)},
    )  # fmt: skip
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return json.loads(out)


@pytest.mark.node
async def test_the_sdk_creates_finds_and_cancels(redis_url: str) -> None:
    """Unchanged, over https: it signs in by an API token, and knows our errors as its own."""
    require("node", missing())
    async with served(redis_url) as (console, port):
        await console.open()
        token, _ = await tokens.create(console.resque.store, "sdk", ["tasks:*"])
        said = await sdk(port, token)

    created = said["created"]
    assert (created["status"], created["functionName"], said["isDate"]) == ("new", "Mail", True)
    assert created["data"] == {"myKey": "My Value", "nested_key": {"someKey": 1}}
    assert created["createdByApplicationId"] == "sdk"
    assert [each["id"] for each in said["found"]["data"]] == [created["id"]]
    assert said["found"]["page"] == {"total": 1, "offset": 0, "limit": 10}
    assert said["foundById"] == said["foundFirst"] == created
    assert "foundNone" not in said  # undefined
    assert said["all"] == 60
    assert said["recent"]["page"]["total"] == 61
    assert said["cancelled"] == {"affectedRecords": 1}
    errors = {
        "cancelledAgain": "IllegalStateError",
        "cancelledUnknown": "ResourceUnknownError",
        "impossible": "InvalidRqlError",
        "wrong": "IllegalArgumentError",
    }
    assert {name: said[name]["class"] for name in errors} == errors
    assert "eq and in" in said["impossible"]["message"]
    assert said["functions"]["data"] == []
