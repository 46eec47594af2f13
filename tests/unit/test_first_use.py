"""Modules of ours are imported at their first use; a fork in the middle of that leaves a child that works."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import os, signal, sys, threading

import resqpy

begun, forking = threading.Event(), threading.Event()


class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "redis":  # in the middle
            begun.set()
            forking.wait()


sys.meta_path.insert(0, Finder())
thread = threading.Thread(target=lambda: resqpy.MultiWorker)
thread.start()
begun.wait()
forking.set()
child = os.fork()
if child == 0:
    signal.alarm(60)
    print(resqpy.MultiWorker.__name__, flush=True)
    os._exit(0)
code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
thread.join()
again = os.fork()
if again == 0:
    os._exit(0)
print(code, os.waitpid(again, 0)[1], resqpy.Queue.__name__)
"""


def test_a_fork_in_the_middle_of_a_first_use() -> None:
    """The child would wait forever for a module whose import was left to a thread that it has not."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False
    )

    assert (done.stdout.split(), done.stderr) == (["MultiWorker", "0", "0", "Queue"], "")
