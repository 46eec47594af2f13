"""`resqpy schedule import`: resque-scheduler's file becomes schedules that all schedulers see."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from resqpy.cli.output.printing import Exit
from tests.cli.conftest import Call

FILE = """
CancelAbandonedOrders:
  cron: "*/5 * * * *"
  queue: low
queue_documents:
  cron: "0 0 * * * Europe/Berlin"
  class: QueueDocuments
  queue: high
  args:
    - 1
    - {deep: yes}
  description: Every night
clear_leaderboards:
  every: ["1h", {first_in: "5m"}]
  class: ClearLeaderboards
  queue: low
  rails_env: production
"""


SYMBOLS = """
:clear:
  every:
    - "30s"
    - :first_in: 120s
  :class: Clear
  queue: :"low"
  args:
    - ":text"
    - a :b
    - :c d
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The file."""
    path = tmp_path / "resque_schedule.yml"
    path.write_text(FILE)
    return path


def _written(client: Any) -> dict[str, object]:
    found = client.hgetall("resque:persistent_schedules")
    return {name.decode(): json.loads(raw) for name, raw in found.items()}


def test_the_file_is_written_where_all_schedulers_see_it(
    resqpy: Call, client: Redis, file: Path
) -> None:
    """As Ruby writes them; a second time nothing changes; others stay."""
    client.hset("resque:persistent_schedules", "mine", '{"every":"1h","class":"Mine","queue":"q"}')

    dry = resqpy("schedule", "import", str(file), "--dry-run", "--json").json
    assert sorted(_written(client)) == ["mine"]
    done = resqpy("schedule", "import", str(file), "--json").json
    again = resqpy("schedule", "import", str(file), "--json").json

    names = ["CancelAbandonedOrders", "queue_documents", "clear_leaderboards"]
    assert dry["schedules"] == done["schedules"] == dict.fromkeys(names, "new")
    assert again["schedules"] == dict.fromkeys(names, "same")
    assert _written(client) == {
        "mine": {"every": "1h", "class": "Mine", "queue": "q"},
        "CancelAbandonedOrders": {
            "cron": "*/5 * * * *", "class": "CancelAbandonedOrders", "queue": "low",
        },
        "queue_documents": {
            "cron": "0 0 * * * Europe/Berlin", "class": "QueueDocuments", "queue": "high",
            "args": [1, {"deep": True}], "description": "Every night",
        },
        "clear_leaderboards": {
            "every": ["1h", {"first_in": "5m"}], "class": "ClearLeaderboards", "queue": "low",
            "rails_env": "production",
        },
    }  # fmt: skip
    assert "queue_documents" in resqpy("schedule").out
    file.write_text(FILE.replace("*/5", "*/6"))
    assert "changed" in resqpy("schedule", "import", str(file)).out


def test_one_wrong_entry_writes_nothing(resqpy: Call, client: Redis, file: Path) -> None:
    """All that is wrong is told."""
    file.write_text(FILE.replace("*/5 * * * *", "61 * * * *").replace("1h", "often"))

    said = resqpy("schedule", "import", str(file))

    assert said.code != Exit.OK
    assert "'CancelAbandonedOrders'" in said.err
    assert "'clear_leaderboards'" in said.err
    assert _written(client) == {}


def test_sections_of_environments(resqpy: Call, client: Redis, file: Path) -> None:
    """One is chosen; without a choice they are named."""
    indented = FILE.replace("\n", "\n  ")
    file.write_text(f"production:\n{indented}\nstaging:\n  a:\n    every: 1h\n    queue: q\n")

    said = resqpy("schedule", "import", str(file))
    assert said.code != Exit.OK
    assert "production, staging" in said.err
    assert "production" in resqpy("schedule", "import", str(file), "--section", "productoin").err
    assert resqpy("schedule", "import", str(file), "--section", "staging").code == Exit.OK
    assert _written(client) == {"a": {"every": "1h", "class": "a", "queue": "q"}}


def test_what_no_scheduler_of_ours_will_run_is_told(
    resqpy: Call, client: Redis, file: Path, root: Path
) -> None:
    """It is written all the same, for Ruby's; exit code 6. A class of ours has a queue."""
    code = "from resqpy import task\n@task(name='Ours', queue='mail')\ndef ours(): 'O.'\n"
    (root / "tasks" / "ours.py").write_text(code)
    file.write_text("a:\n  every: 1h\n  class: Theirs\nb:\n  every: 1h\n  class: Ours\n")

    for words in (["--dry-run"], []):
        said = resqpy("schedule", "import", str(file), "--json", *words)
        assert (said.code, list(said.json["schedules"])) == (Exit.NO, ["a", "b"])
        problems = said.json["problems"]
        assert "it names no queue, and 'Theirs' is not a task" in problems.pop("a")
        assert problems == {}
    assert sorted(_written(client)) == ["a", "b"]
    assert "'Theirs'" in resqpy("schedule", "import", str(file)).out


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a:\n  cron: <%= ENV['X'] %>", "ERB"),
        ("a: !ruby/object:Foo {}", "no plain YAML"),
        ("a: [", "no plain YAML"),
        ("a: 2001-99-99", "can't be read"),
        (f"a: {'9' * 5000}", "can't be read"),
        ("a: !!bool x", "can't be read"),
        (f"a: {'[' * 5000}{']' * 5000}", "can't be read"),
        ("- a", "not a mapping"),
        ("a: 5", "schedule 'a' is not a mapping"),
        ("a:\n  cron: 2026-01-01", "'a'"),
        ("a:\n  every: 1h\nb:\n  every: 1h\na:\n  every: 2h\n", "'a' stands twice"),
        ('{"a": {"every": "1h"}, "b": {"every": "1h"}, "a": {"every": "2h"}}', "'a' stands twice"),
        ("a:\n  every: 1h\n  args:\n    - {x: 1, x: 2}\n", "'x' stands twice"),
    ],
)
def test_what_is_no_such_file_is_told(
    resqpy: Call, client: Redis, file: Path, text: str, why: str
) -> None:
    """With what to do; nothing in it is run."""
    file.write_text(text)

    said = resqpy("schedule", "import", str(file))

    assert said.code != Exit.OK
    assert why in said.err
    assert _written(client) == {}


def test_what_a_file_merges_does_not_stand_twice(resqpy: Call, client: Redis, file: Path) -> None:
    """YAML's own way to say a thing once."""
    file.write_text("a: &a\n  every: 1h\n  queue: q\nb:\n  <<: *a\n  every: 2h\n")

    assert resqpy("schedule", "import", str(file)).code == Exit.OK
    assert _written(client)["b"] == {"every": "2h", "class": "b", "queue": "q"}


def test_symbols_are_texts(resqpy: Call, client: Redis, tmp_path: Path) -> None:
    """As resque-scheduler's own page has them, and as Ruby's JSON writes them; in quotes a colon is one."""
    path = tmp_path / "symbols.yml"
    path.write_text(SYMBOLS)
    resqpy("schedule", "import", str(path))
    args = [":text", "a :b", "c d"]
    every = ["30s", {"first_in": "120s"}]
    assert _written(client) == {
        "clear": {"every": every, "class": "Clear", "queue": "low", "args": args}
    }
