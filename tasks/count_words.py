"""A plain function: it runs in a thread, so it may block and compute without holding up the others."""

from __future__ import annotations

import time

from resqpy import task


@task(queue="low")
def count_words(text: str) -> int:
    """Count the words of a text, slowly."""
    time.sleep(0.1)  # blocks its thread only
    count = len(text.split())
    print(f"  #  {count} words in {text!r}")
    return count
