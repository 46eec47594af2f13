"""docs/reference/promises.md, made of the tests that are marked: `python -m tests.docs.promises` writes it.

A test says what it shows by `@pytest.mark.promise("killed", "plain", "tracked")`: a fault of `FAULTS`, and
the kinds of jobs that the test really puts through it; without kinds, all of them by chance, in a storm. Where
no test has a kind, `SHARED` says with which other kind it shares the mechanism.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any, NamedTuple

from tests.docs.pages import DOCS, ROOT
from tests.storm import figures

DOC = DOCS / "reference" / "promises.md"

KINDS = (
    "plain", "at most once", "retried", "locked", "delayed", "periodic", "cron", "tracked",
    "tracked at most once",
)  # fmt: skip

HEAD = """# What holds when something breaks

For each fault and each kind of job: what resqpy promises, and the test that shows it, or the mechanism that
the kind shares with one that has a test. This page is made of the tests: a test is named where it is marked as
showing that fault with that kind.

What a dead worker process had in hand is put right by a scheduler or, where none leads, by any other worker
process. What has to wait for its time needs a scheduler (`resqpy worker --scheduler`): delayed jobs, the next
attempt of a retried job, the next time of a periodic or cron task, a tracked task whose job is gone.

- **again**: the job runs again, with its exact bytes. What it had done by then may be done twice.
- **once**: it runs, and once.
- **fails**: it goes to the failed list, by name, if it had begun (tracked: or was just taken, for then nobody
  knows whether it had); else it runs. It is never begun twice.
- **goes on**: its next time comes, once for each.
"""


FULL = """## The full storms

A storm enqueues jobs of all kinds while all of this happens at once, and an auditor outside Redis counts what was
asked for, what the tasks noted, and what is left. What failed are jobs that may begin once, and had died with
their worker. These are the figures of the last runs that were kept (`bin/test --all --write-figures tests/storm`).
"""


class Fault(NamedTuple):
    """A row of the page.

    Attributes:
        title: what happens.
        usual: what is promised to most kinds.
        others: what is promised to the rest.
    """

    title: str
    usual: str
    others: dict[str, str] = {}


_ONCE = {"at most once": "fails", "tracked at most once": "fails"}
_CHAIN = {"periodic": "again, and goes on", "cron": "again, and goes on"}

FAULTS = {
    "killed": Fault(
        "A worker's process is killed (`kill -9`, no memory left, the machine gone)",
        "again", {**_ONCE, **_CHAIN},
    ),
    "no scheduler": Fault(
        "A worker's process is killed where no scheduler runs: another worker process takes its jobs back, under "
        "a lease",
        "again",
        {
            **_ONCE,
            "retried": "again; its next attempt needs a scheduler",
            **dict.fromkeys(("periodic", "cron"), "again; its next time needs a scheduler"),
        },
    ),
    "stopped": Fault(
        "A worker is told to stop (TERM, a deploy), and the job does not end in time",
        "again", {**_ONCE, **_CHAIN},
    ),
    "reply lost": Fault(
        "The connection breaks while a worker reports and takes jobs: the request, or the reply, is lost",
        "once",
    ),
    "redis killed": Fault("Redis is killed and comes back with its data", "once"),
    "redis stands still": Fault("Redis stands still, and goes on", "once"),
    "frozen": Fault(
        "A worker stands still so long that it is taken for dead, then wakes (SIGSTOP, a suspended machine): "
        "the end of its late run is void",
        "again", {**_ONCE, **_CHAIN},
    ),
    "leader killed": Fault("The scheduler that leads is killed at any moment", "once"),
    "two versions": Fault(
        "Processes of two versions share the Redis (a rolling deploy, a rollback), and are killed, stopped and "
        "frozen",
        "again", {**_ONCE, **_CHAIN},
    ),
}  # fmt: skip

_QUEUED = "when it is due it is moved to its queue in one step, and is a plain job from then on"
_FIRED = "its scheduler enqueues a plain job for each time; the next time is no matter of the job"
_RETRY = (
    "an attempt is a plain job; the next one is written in the same step as the end of this one"
)
_LOCK = "a plain job; its lock is written and freed in the steps in which it is taken and ends"
_SAME = "it is taken and ended by the same exchange, which does not ask what kind a job is"
_NOT_WAITING = "the scheduler has nothing to do with a job that is in its queue or runs"

# (fault, kind) -> the kind with which it shares the mechanism, and how.
SHARED: dict[tuple[str, str], tuple[str, str]] = {
    **{(fault, "delayed"): ("plain", _QUEUED) for fault in FAULTS if fault != "leader killed"},
    **{(fault, "cron"): ("plain", _FIRED) for fault in FAULTS if fault != "leader killed"},
    **{(fault, "retried"): ("plain", _RETRY) for fault in FAULTS if fault != "leader killed"},
    **{(fault, "locked"): ("plain", _LOCK) for fault in FAULTS if fault != "leader killed"},
    **{
        (fault, kind): ("plain", _SAME)
        for fault in ("reply lost", "redis killed", "redis stands still")
        for kind in ("at most once", "periodic", "tracked", "tracked at most once")
    },
    ("no scheduler", "periodic"): ("plain", _SAME),
    ("stopped", "periodic"): ("plain", _SAME),
    ("frozen", "periodic"): ("plain", _SAME),
    ("frozen", "at most once"): (
        "plain",
        "its end is void in the same way; the rescue reads its mark",
    ),
    ("frozen", "tracked at most once"): ("tracked", "the record is settled in the same step"),
    **{
        ("leader killed", kind): ("delayed", _NOT_WAITING)
        for kind in ("plain", "at most once", "locked")
    },
    ("leader killed", "retried"): ("delayed", "its next attempt is a delayed job"),
    ("leader killed", "tracked"): ("delayed", "what waits for its time is a delayed job"),
    ("leader killed", "tracked at most once"): (
        "delayed",
        "what waits for its time is a delayed job",
    ),
}


class Mark(NamedTuple):
    """A mark and its test."""

    test: str
    fault: str
    kinds: tuple[str, ...]


def marks() -> list[Mark]:
    """All marks, in the order of the files; read, not imported."""
    paths = sorted(
        path for path in (ROOT / "tests").rglob("test_*.py") if "node_modules" not in path.parts
    )
    return [
        mark for path in paths for mark in _of_file(path.read_text(), str(path.relative_to(ROOT)))
    ]


def _of_file(text: str, path: str) -> Iterator[Mark]:
    if "mark.promise(" not in text:
        return
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for each in node.decorator_list:
                if isinstance(each, ast.Call) and ast.unparse(each.func) == "pytest.mark.promise":
                    fault, *kinds = map(ast.literal_eval, each.args)
                    yield Mark(f"{path}::{node.name}", fault, tuple(kinds))


def proofs(fault: str, kind: str) -> list[str]:
    """The tests that show it."""
    return [mark.test for mark in marks() if mark.fault == fault and kind in mark.kinds]


def promised(fault: str, kind: str) -> str:
    """In a word or two."""
    return FAULTS[fault].others.get(kind, FAULTS[fault].usual)


def generated() -> str:
    """The page."""
    found = marks()
    head = "| | " + " | ".join(KINDS) + " |\n|---|" + "---|" * len(KINDS) + "\n"
    rows = [
        f"| {name} | " + " | ".join(_short(promised(name, kind)) for kind in KINDS) + " |"
        for name in FAULTS
    ]
    parts = [HEAD, head + "\n".join(rows) + "\n"]
    parts += [_section(name, fault, found) for name, fault in FAULTS.items()]
    parts += [FULL, _storms(figures.read("great"), figures.read("two_versions"))]
    parts += [_memory(figures.read("memory"))]
    return "\n".join(parts)


def _short(words: str) -> str:
    return words.partition(";")[0]


def _section(name: str, fault: Fault, found: list[Mark]) -> str:
    rows = [
        f"| {kind} | {promised(name, kind)} | {_shown_by(name, kind, found)} |" for kind in KINDS
    ]
    head = f"## {name[0].upper()}{name[1:]}\n\n{fault.title}.\n\n| kind | promised | shown by |\n|---|---|---|\n"
    storms = [f"`{mark.test}`" for mark in found if mark.fault == name and not mark.kinds]
    tail = f"\nAll kinds at once, in a storm: {', '.join(storms)}.\n" if storms else ""
    return head + "\n".join(rows) + "\n" + tail


def _shown_by(fault: str, kind: str, found: list[Mark]) -> str:
    tests = [f"`{mark.test}`" for mark in found if mark.fault == fault and kind in mark.kinds]
    if tests:
        return ", ".join(tests)
    other, how = SHARED[fault, kind]
    return f"as *{other}*: {how}"


def _storms(great: dict[str, Any], versions: dict[str, Any]) -> str:
    """A column for each."""
    rows = [
        f"| {name} | {_words(name, great.get(name))} | {_words(name, versions.get(name))} |"
        for name in {**great, **versions}
    ]
    return "| | everything breaks | two versions |\n|---|---|---|\n" + "\n".join(rows) + "\n"


def _words(name: str, figure: Any) -> str:
    """One figure, or several with their sum."""
    if figure is None:  # it was not counted when that one was kept
        return ""
    if name in ("date", "seed"):
        return str(figure)
    if not isinstance(figure, dict):
        return f"{figure:,}"
    parts = ", ".join(f"{number:,} {name}" for name, number in sorted(figure.items()))
    total = sum(number for name, number in figure.items() if not name.startswith("replaced by"))
    return f"{total:,}: {parts}" if parts else "0"  # what comes in its place is no further fault


def _memory(memory: dict[str, Any]) -> str:
    return (
        f"A worker with a scheduler that works {memory['jobs']:,} jobs while connections break "
        f"({memory['date']}): {memory['MiB after 50,000']} MiB after the first 50,000, then "
        f"{memory['MiB per 100,000 more']:+} MiB for 100,000 more.\n"
    )


if __name__ == "__main__":
    DOC.write_text(generated())
