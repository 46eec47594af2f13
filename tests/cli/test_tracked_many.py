"""Verbs for many tracked tasks at once, from the shell."""

from __future__ import annotations

import pytest

from tests.cli.conftest import Call


@pytest.fixture
def tasks(resqpy: Call) -> None:
    """Four tasks: `a` waits, `b` and `c` have a tag, `c` and `d` are disabled."""
    options = {
        "a": (),
        "b": ("--tag", "x"),
        "c": ("--tag", "x", "--disabled"),
        "d": ("--disabled",),
    }
    for task_id, given in options.items():
        made = resqpy(
            "task", "create", "sendMail", "to=x@y", "--id", task_id, "--delay", "1h", *given
        )
        assert made.code == 0


def ids(resqpy: Call, *conditions: str) -> list[str]:
    """The tasks that meet conditions."""
    found = resqpy("tracked", "list", *conditions, "--json").json
    return [task["id"] for task in found["tasks"]]


@pytest.mark.usefixtures("tasks")
def test_by_conditions(resqpy: Call) -> None:
    """It is told how many are meant, asked, and done to all of them."""
    would = resqpy("task", "enable", "--status", "disabled", "--dry-run")
    assert (would.code, would.out) == (0, "2 tracked tasks would be enabled\n")
    asked = resqpy("task", "enable", "--status", "disabled")
    assert (asked.code, asked.out) == (2, "")
    assert (
        "Enable 2 tracked tasks? There is no terminal to ask on: use --yes (or --dry-run)"
        in asked.err
    )
    assert ids(resqpy, "--status", "disabled") == ["c", "d"]
    done = resqpy("task", "enable", "--status", "disabled", "--yes")
    assert (done.code, done.out) == (0, "2 tracked tasks enabled\n")
    said = resqpy("task", "cancel", "--tag", "x", "--type", "sendMail", "--yes", "--json").json
    assert said == {"found": 2, "cancelled": 2, "left": {}, "dry_run": False}
    assert ids(resqpy, "--status", "cancelled") == ["b", "c"]
    assert resqpy("tracked", "remove", "--all", "--yes").out == "4 tracked tasks removed\n"
    assert ids(resqpy) == []


@pytest.mark.usefixtures("tasks")
def test_only_where_it_may_be_done(resqpy: Call) -> None:
    """What is in a status in which the verb is refused is neither counted nor changed."""
    would = resqpy("task", "retry", "--all", "--dry-run")
    none = resqpy("task", "retry", "--status", "disabled", "--dry-run")
    done = resqpy("task", "retry", "--all", "--yes")
    assert (would.code, none.code, done.code) == (0, 6, 0)
    assert would.out.startswith("2 tracked tasks would be retried; skipped: 2 disabled")
    assert none.out.startswith("0 tracked tasks would be retried; skipped: 2 disabled")
    assert done.out.startswith("2 tracked tasks retried; skipped: 2 disabled")
    assert ids(resqpy, "--status", "pending") == ["a", "b"]


@pytest.mark.usefixtures("tasks")
def test_a_dry_run_of_ids(resqpy: Call) -> None:
    """What would be done to each is told, with the exit code that doing it would have."""
    said = resqpy("task", "retry", "a", "c", "--dry-run")
    assert (said.code, said.out) == (6, "a  would be retried\n")
    assert "task 'c' is disabled and can't be retried" in said.err
    assert resqpy("task", "remove", "a", "--dry-run").out == "a  would be removed\n"
    assert resqpy("task", "remove", "gone", "--dry-run").code == 5
    assert ids(resqpy) == ["a", "b", "c", "d"]


MEANT_BY_NONE = [
    ("--type sendMial", "none has the type 'sendMial'; did you mean 'sendMail'?"),
    ("--tag x --tag xy --type sendMail", "none has the tag 'xy'"),
    ("--user nobody", "none has the user 'nobody'"),
    ("--status failed", "2 scheduled, 2 disabled"),
    ("--priority 3", "none meets these conditions"),
    ("--status scheduled --completed ..now", "none meets these conditions together"),
]


@pytest.mark.usefixtures("tasks")
@pytest.mark.parametrize("verb", ["cancel", "retry", "enable", "disable", "remove"])
def test_what_is_meant_by_none(resqpy: Call, verb: str) -> None:
    """A script sees that nothing was done, and a person what is nearest; a dry run says the same."""
    for number, (conditions, near) in enumerate(MEANT_BY_NONE):
        said = resqpy("tracked", verb, *conditions.split(), ("--dry-run", "--yes")[number % 2])
        assert (said.code, said.out.startswith("0 tracked tasks")) == (6, True)
        assert near in said.out
    assert len(ids(resqpy)) == 4


def test_all_of_none_and_ids_of_none(resqpy: Call) -> None:
    """All of nothing is done; an id that nothing has is told with the nearest."""
    said = resqpy("tracked", "cancel", "--all", "--yes")
    assert (said.code, "there are no tracked tasks" in said.out) == (0, True)
    assert resqpy("tracked", "cancel", "--type", "sendMail", "--yes").code == 6
    resqpy("task", "create", "sendMail", "to=x@y", "--id", "welcome-ada")
    said = resqpy("tracked", "cancel", "welcom-ada")
    assert (said.code, "did you mean 'welcome-ada'?" in said.err) == (5, True)
    assert resqpy("tracked", "cancel", "welcome-ada", "welcom-ada", "--yes").code == 6


def test_what_changed_meanwhile_is_told(resqpy: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the question and the answer a task is cancelled by somebody else."""
    for task_id in "ab":
        resqpy("task", "create", "sendMail", "to=x@y", "--id", task_id, "--delay", "1h")
    told: list[str] = []
    monkeypatch.setattr(
        "resqpy.cli.output.printing.confirm",
        lambda _: told.append(resqpy("tracked", "remove", "a").out),
    )
    said = resqpy("tracked", "cancel", "--all")
    assert (said.code, said.out.startswith("1 tracked task cancelled; 1 of 2")) == (6, True)


@pytest.mark.parametrize(
    "wrong", [(), ("a", "--all"), ("--all", "--type", "t"), ("a", "--tag", "x")]
)
def test_say_which(resqpy: Call, wrong: tuple[str, ...]) -> None:
    """Ids, or conditions, or all: one of them."""
    said = resqpy("task", "cancel", *wrong, "--yes")
    assert said.code == 2
    assert "--all" in said.err


def test_wrong_conditions(resqpy: Call) -> None:
    """A status that is none is refused, with the nearest."""
    said = resqpy("task", "cancel", "--status", "canceled", "--yes")
    assert said.code == 2
    assert "did you mean 'cancelled'" in said.err


@pytest.mark.usefixtures("tasks")
@pytest.mark.parametrize(
    ("conditions", "wanted"),
    [
        (("--status", "scheduled,disabled"), ["a", "b", "c", "d"]),
        (("--status", "disabled", "--status", "scheduled", "--tag", "x"), ["b", "c"]),
        (("--status", " disabled , "), ["c", "d"]),
        (("--priority", "0"), ["a", "b", "c", "d"]),
        (("--priority", "3"), []),
        (("--created", "-1h..now"), ["a", "b", "c", "d"]),
        (("--created", "..-1h"), []),
        (("--modified", "-1h..", "--status", "disabled"), ["c", "d"]),
        (("--due", "now..+30m"), []),
        (("--due", "+30m..+2h", "--status", "scheduled"), ["a", "b"]),
        (("--due", "..2100-01-01", "--tag", "x"), ["b", "c"]),
        (("--completed", "..now"), []),
    ],
)
def test_conditions(resqpy: Call, conditions: tuple[str, ...], wanted: list[str]) -> None:
    """Several statuses, a priority, and ranges of times; the verbs mean the same tasks."""
    assert ids(resqpy, *conditions) == wanted
    told = resqpy("task", "list", *conditions, "--json").json
    assert [each["id"] for each in told["tasks"]] == wanted
    would = resqpy("tracked", "remove", *conditions, "--dry-run", "--json").json
    assert (would["found"], would["removed"]) == (len(wanted), 0)


@pytest.mark.parametrize(
    ("conditions", "words"),
    [
        (("--created", "yesterday"), "-1d..now"),
        (("--created", ".."), "-1d..now"),
        (("--due", "now..soon"), "soon"),
        (("--priority", "11"), "priority"),
        (("--status", "pending,pendign"), "did you mean"),
        (("--status", ","), "status"),
    ],
)
def test_conditions_that_are_wrong(resqpy: Call, conditions: tuple[str, ...], words: str) -> None:
    """They are refused, with what is meant; nothing is shown or done."""
    for verb in (("list",), ("remove", "--yes")):
        said = resqpy("tracked", *verb, *conditions)
        assert (said.code, said.out) == (2, "")
        assert words in said.err
