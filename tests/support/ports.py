"""Ports for servers of tests, and the end of one."""

from __future__ import annotations

import asyncio
import random
import socket

_BUS = 10_000  # a Redis Cluster's node listens there too, so much above
_ours: list[socket.socket] = []


def free_port(in_a_row: int = 1) -> int:
    """A port that nobody uses, nor its cluster bus, and that no other test process gets while this
    one lives; below those that the system hands out by itself.

    Args:
        in_a_row: so many; the first one is returned.
    """
    while True:  # `random` itself is seeded alike in all test processes
        first = random.SystemRandom().randrange(12_000, 22_000 - in_a_row)
        ports = range(first, first + in_a_row)
        if all(_is_free(port) and _is_free(port + _BUS) and _is_ours_now(port) for port in ports):
            return first


def _is_free(port: int) -> bool:
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return _bound(server, port)


def _is_ours_now(port: int) -> bool:
    """Have the UDP port of that number as the sign of it, which nobody uses for anything else."""
    sign = socket.socket(type=socket.SOCK_DGRAM)
    if _bound(sign, port):
        _ours.append(sign)
        return True
    sign.close()
    return False


def _bound(one: socket.socket, port: int) -> bool:
    try:
        one.bind(("127.0.0.1", port))
    except OSError:
        return False
    return True


async def close_server(server: asyncio.Server) -> None:
    """Close one, when who serves its connections knows of all that it has accepted. asyncio tells of them
    some turns of the loop later, and never closes those that it has accepted when it is closed: Python
    would warn of them in another test, whenever it collects its garbage.
    """
    loop = asyncio.get_running_loop()
    for each in server.sockets:
        loop.remove_reader(each.fileno())
    for _ in range(3):
        await asyncio.sleep(0)
    server.close()
