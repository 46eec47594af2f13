"""`python -m resqpy`."""

from __future__ import annotations

from resqpy.cli.main import main

main()
