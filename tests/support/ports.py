"""Ports for servers of tests."""

from __future__ import annotations

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
