"""`bin/mutate [words]`: tries all mutants, or those whose feature has the words in it."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from tests.mutation.breaking import copied, try_mutant
from tests.mutation.table import MUTANTS


def main(words: str) -> int:
    """Try them, print a line for each; the exit code."""
    chosen = [each for each in MUTANTS if words.lower() in each.feature.lower()]
    if not chosen:
        print(f"no feature has {words!r} in its name")
        return 2
    survived = 0
    with tempfile.TemporaryDirectory() as folder, copied(Path(folder)) as root:
        for mutant in chosen:
            began = time.monotonic()
            tried = try_mutant(mutant, root)
            word = "killed  " if tried.killed else "SURVIVED"
            print(f"{word} {time.monotonic() - began:5.1f} s  {mutant.feature}", flush=True)
            if not tried.killed:
                survived += 1
                print(f"  {mutant.path}: {mutant.line}\n  {tried.words}", flush=True)
    print(f"{len(chosen)} mutants, {survived} survived")
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main(" ".join(sys.argv[1:])))
