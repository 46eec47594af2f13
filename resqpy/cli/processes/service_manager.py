"""Notifies a service manager (systemd, `Type=notify`): that we work, that we stop, that our event loop is
responsive.

Source: https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html
"""

from __future__ import annotations

import asyncio
import os
import socket

from resqpy.framework.logs.log import get_logger

# A child that inherited them would speak for us.
VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")


class ServiceManager:
    """The connection to it; without one, nothing is sent. Create it on the loop to be watched: the watchdog
    messages come from there, so they stop when it hangs.
    """

    def __init__(self) -> None:
        address, every_us, watched = (os.environ.pop(name, "") for name in VARIABLES)
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._watching: asyncio.Task[None] | None = None
        if address and every_us.isdigit() and watched in {"", str(os.getpid())}:
            self._watching = asyncio.create_task(self._watch(int(every_us) / 2e6))

    def ready(self) -> None:
        """Report that we work."""
        self._tell("READY=1")

    def stopping(self) -> None:
        """Report that we stop, which may take a while."""
        self._tell("STOPPING=1")

    def close(self) -> None:
        """Stop the watchdog messages."""
        if self._watching is not None:
            self._watching.cancel()

    async def _watch(self, every_s: float) -> None:
        while True:
            self._tell("WATCHDOG=1")
            await asyncio.sleep(every_s)

    def _tell(self, words: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as way:
                way.setblocking(False)  # noqa: FBT003 - its signature
                way.sendto(words.encode(), self._address)
        except OSError as error:
            get_logger().warning("cannot reach the service manager", error=repr(error))
