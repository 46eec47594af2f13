"""The figures of the full proofs, for docs/reference/promises.md.

`bin/test --all --write-figures tests/storm` writes them, `python -m tests.docs.promises` puts them on the page.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "figures"


def write(name: str, figures: dict[str, Any]) -> None:
    """Keep the figures of a proof that has passed today; each has a file of its own."""
    FOLDER.mkdir(exist_ok=True)
    content = {"date": f"{datetime.now(UTC):%Y-%m-%d}", **figures}
    (FOLDER / f"{name}.json").write_text(json.dumps(content, indent=2) + "\n")


def read(name: str) -> dict[str, Any]:
    """Those of its last full run that was written down."""
    found: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text())
    return found
