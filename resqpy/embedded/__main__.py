"""`python -m resqpy.embedded find` prints the server's binary; `keep` is only for shared.py."""

from __future__ import annotations

import sys
from pathlib import Path

from resqpy.base.errors import EmbeddedRedisError
from resqpy.embedded.keeper import keep
from resqpy.embedded.process import find_binary


def main(arguments: list[str]) -> int:
    """Return the exit code; an error is one line on stderr."""
    try:
        match arguments:
            case ["find"]:
                sys.stdout.write(f"{find_binary()}\n")
            case ["keep", binary, data, socket_path, _]:  # last the lock, which is open
                keep(Path(binary), Path(data), Path(socket_path))
            case _:
                sys.stderr.write("usage: python -m resqpy.embedded find\n")
                return 2
    except EmbeddedRedisError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


sys.exit(main(sys.argv[1:]))
