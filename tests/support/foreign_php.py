"""Run the real php-resque from async tests: one program for each operation, of `tests/interop/php/run.php`.

Nothing here knows resqpy.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

from tests.support.foreign import CALL_TIMEOUT_S, ForeignError, Target

RUN = Path(__file__).parent.parent / "interop" / "php" / "run.php"


class PhpProgram:
    """php-resque on one Redis."""

    def __init__(self, target: Target) -> None:
        self._argument = json.dumps(
            {
                "server": f"unix://{target.socket}"
                if target.socket
                else f"{target.host}:{target.port}",
                "database": target.db,
            }
        )

    @staticmethod
    @cache
    def missing() -> str | None:
        """Say why it cannot run here, or None."""
        if shutil.which("php") is None:
            return "there is no `php` on the PATH"
        probe = subprocess.run(
            ["php", str(RUN), "{}", "ping"], capture_output=True, text=True, check=False
        )
        if probe.returncode == 0:
            return None
        why = probe.stderr.strip().splitlines()
        return f"php-resque does not work (composer install in tests/interop/php): {why[:1]}"

    async def call(self, operation: str, *args: Any) -> Any:
        """What an operation gives."""
        process = await asyncio.create_subprocess_exec(
            "php", str(RUN), self._argument, operation, json.dumps(args),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ,
        )  # fmt: skip
        try:
            out, err = await asyncio.wait_for(process.communicate(), CALL_TIMEOUT_S)
        except BaseException:
            process.kill()
            await process.wait()
            raise
        if process.returncode:
            raise ForeignError(err.decode(errors="replace")[-2000:])
        return json.loads(out.splitlines()[-1])
