"""Asking a process over HTTP, as a probe does."""

from __future__ import annotations

import asyncio
import json
from typing import Any


async def get(port: int, path: str) -> tuple[int, Any]:
    """The answer to a GET: its status and what its JSON says."""
    head, body = await fetch(port, path)
    return int(head.split()[1]), json.loads(body)


async def fetch(port: int, path: str) -> tuple[str, bytes]:
    """The answer to a GET: its head and its body."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    return head.decode(), body
