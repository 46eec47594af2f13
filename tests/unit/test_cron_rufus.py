"""Our reading of cron expressions and intervals beside that of the real rufus-scheduler.

What Ruby answers is recorded in rufus_answers.json (rufus-scheduler 3.8.2, fugit 1.5.2). Where Ruby
is installed, it is asked again, and asked about other expressions on every run. To record anew:
`python -m tests.unit.test_cron_rufus`.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from resqpy.base.cron.cron import CronSchedule, InvalidCron
from resqpy.base.cron.ruby import InvalidEvery, parse_every, why_not_rufus
from tests.support.other_languages import require

RECORDED = Path(__file__).with_name("rufus_answers.json")
START = datetime(2026, 1, 9, 10, 11, 12, tzinfo=UTC)
FIRES = 5
ASK_RUBY = r"""
require 'json'
require 'rufus-scheduler'
def fires(text, from, count)
  cron = Fugit::Cron.parse(text)
  time = EtOrbi.make_time(from)
  cron && Array.new(count) { (time = cron.next_time(time)).to_i }
rescue StandardError => e
  "dies of #{e.class}"
end
asked = JSON.parse(STDIN.read)
puts JSON.dump(
  'cron' => asked['cron'].map { |text| fires(text, asked['from'], asked['count']) },
  'every' => asked['every'].map { |text| Rufus::Scheduler.parse_in(text) rescue nil })
"""

# Expressions that Ruby takes and we refuse, each because crons (Ruby's included) disagree about it
# or because Ruby misreads it. The left-hand side is what our message says.
OURS_REFUSED = ("disagree", "-31 to -1", "day of the month '", "never fires")

CURATED_CRON = [
    *("* * * * *", "*/5 * * * *", "0 0 * * 0", "0 0 * * 7", "0 9 * * 1-5", "0 9 * * mon-fri"),
    *("0 0 1 jan *", "0 0 L * *", "0 0 -1 * *", "0 0 * * sun#1", "0 0 * * sun#-1", "0 0 * * 0#1"),
    *("* * * * * *", "*/15 * * * * *", "0 0 * * * UTC", "0 0 * * * Europe/Berlin", "@hourly"),
    *("* * * * * * Asia/Tokyo", "@daily", "@midnight", "@weekly", "@monthly", "@yearly", "@noon"),
    *("@annually", "@reboot", "0,30 * * * *", "5-10/2 * * * *", "60 * * * *", "0 24 * * *"),
    *("0 0 0 * *", "* * *", "every day at noon", "every 5 minutes", "0 0 * * ?", "0 0 12 * * ? *"),
    *("0 0 13 * 5", "30 1 &1 * *", "0 0 * * 1%2", "1, * * * *", "1,,2 * * * *", " 0 * * * *"),
    *("0 * * * * ", "0  *\t* * *", "0 * * * *\tUTC", "0 * * * *   UTC", "*/0 * * * *"),
    *("0 0 * * 1%0", "0 0 * * sun#1,sun#3", "0 0 * * mon#1,mon%2", "0 0 * * mon,tue#1"),
    *("0 0 -3--1 * *", "0 0 25-L * *", "0 0 L-5 * *", "0 0 -5-2 * *", "0 0 1--1 * *"),
    *("0 0 -1/2 * *", "0 0 * * 1/2", "0 0 * * fri-mon/2", "0 0 * * fri-mon", "0 0 */1 * mon"),
    *("0 0 1 * */1", "0 0 1 * *,5", "*,5 * * * *", "0 20-24 * * *", "0 0-24 * * *", "1-1 * * * *"),
    *("0 24-3 * * *", "0 22-4/2 * * *", "0 23-4/3 * * *", "1-1/3 * * * *", "0 0 * jan-jan *"),
    *("0 0 30 2 *", "0 0 30 2 mon", "0 0 30 2,3 mon", "0 0 -30 2 *", "0 0 * 2 mon#5"),
    *("0 0 * * mon%500", "0 0 29 2 *", "0 0 * * * +09:00", "0 0 * * * +0930", "0 0 * * * +12:00"),
    *("0 0 * * * +01:10", "0 0 * * * CEST", "0 0 * * * EST", "0 0 * * * Z", "0 0 * * * utc"),
    *("0 0 * * * Europe/berlin", "@daily UTC", "@DAILY", "* * * * * MON", "0 0 * * monday"),
    *("0 0 * * mon#last", "0 0 last * *", "0 0 5L * *", "0 0 * * 5L", "0 0 15W * *", "H * * * *"),
    *("/5 * * * *", "0 0 * * /2", "*/90 * * * *", "*/100 * * * *", "5/15 * * * *", "5/1 * * * *"),
    *("59/15 * * * *", "0 0 * * 7/2", "0 0 * * 1-7/2", "0 0 * * 7-2/2", "50-10/7 * * * *"),
    *("0 0 * * UTC", "0 9 * * * America/Argentina/Buenos_Aires", "0 9 * * * Etc/GMT+5"),
    *("05 * * * *", "005 * * * *", "0 0 * * 05", "0 0 * * mon%2+1", "0 0 * * mon-fri%2"),
    *("0 12 * * mon#2 Europe/Berlin", "0 12 L * * America/New_York", "0 12 * * fri%3 Asia/Tokyo"),
]
CURATED_EVERY = [
    *(
        "1s",
        "5",
        "5m",
        "1h",
        "1h10m",
        "1.5h",
        "1d",
        "1w",
        "1M",
        "1y",
        "2w3d10m20s",
        "500ms",
        "0.5s",
    ),
    *("-5s", "1m30s", "5min", "15mins", "5 minutes", "1 hour", "every 5m", "PT5M", "1h,", "1h and"),
    *("and 1h", "1h 10m", "1h and 10m", "-1h10m", "2h -10m", "1.h", ".5h", "1h5", "5 5", "5s5"),
    *("1month", "1 Month", "1MIN", "1minutes", "1H", "P", "PT", "pt5m", "P1W", "P1DT1H", "PT1.5S"),
    *("PT1.5H", "PT-5M", "P1M", "1h1h", "  5m ", "5m\n", "1e3", "0x1", "1_000", "+5m", "--5m"),
    *("1 hr", "1 sec", "1second", "1ss", "1hand10m", "1d12", "0s", "0", "1h-10m", "x", "5\n5m"),
]


LOW = dict(zip("smhdMw", (0, 0, 0, 1, 1, 0), strict=True))
HIGH = dict(zip("smhdMw", (59, 59, 24, 31, 12, 7), strict=True))
NAMES = {
    "d": ["L", "last"],
    "M": ["jan", "feb", "Apr", "DEC"],
    "w": ["sun", "mon", "WED", "sat"],
}


class Expressions:
    """Random expressions of all kinds that the two might see differently."""

    ZONES = ("UTC", "Asia/Tokyo", "Asia/Kolkata", "+05:30", "-0315", "Etc/GMT+5")
    JUNK = ("?", "H", "", "1-", "-", "W", "5W", "**", "1.5", "*/x", "+1", "99", "-1", "007")

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def one(self) -> str:
        """An expression; many are nonsense."""
        chance, kinds = self.random.random(), "mhdMw"
        kinds = f"s{kinds}" if chance < 0.2 else kinds
        plain = "0" if chance < 0.6 else "*"
        fields = [self.field(kind) if self.random.random() < 0.5 else plain for kind in kinds]
        fields = [
            self.field(k) if f == "0" and k in "dM" else f
            for f, k in zip(fields, kinds, strict=True)
        ]
        return " ".join([*fields, *([self.random.choice(self.ZONES)] if chance > 0.8 else [])])

    def field(self, kind: str) -> str:
        """A star or a list."""
        count = self.random.choice([0, 1, 1, 1, 1, 2, 3])
        return ",".join(self.part(kind) for _ in range(count)) or "*"

    def part(self, kind: str) -> str:
        """One part of a list."""
        number, other = self.number(kind), self.number(kind)
        step = f"/{self.random.choice([1, 2, 3, 5, 7, 15, self.random.randint(0, 110)])}"
        shapes = [f"*{step}", step, "*", number, number, number, f"{number}-{other}"]
        shapes += [f"{number}-{other}", f"{number}-{other}{step}", f"{number}{step}"]
        shapes += [self.random.choice(self.JUNK)] if self.random.random() < 0.3 else []
        if kind == "w":
            shapes += [f"{number}#{self.random.choice(['1', '3', '5', '-1', '-5', 'L', '0', '6'])}"]
            shapes += [f"{number}%{self.random.choice(['1', '2', '3+2', '0', '52'])}"]
        return self.random.choice(shapes)

    def number(self, kind: str) -> str:
        """A number or a name."""
        names = NAMES.get(kind, [])
        if names and self.random.random() < 0.3:
            return self.random.choice(names)
        number = self.random.randint(LOW[kind], HIGH[kind])
        sign = "-" if kind == "d" and self.random.random() < 0.2 else ""
        return f"{sign}{number:02}" if self.random.random() < 0.1 else f"{sign}{number}"


def ask_ruby(cron: list[str], every: list[str]) -> dict[str, Any]:
    """What the installed rufus-scheduler says."""
    asked = {"cron": cron, "every": every, "from": START.isoformat(), "count": FIRES}
    answer = subprocess.run(
        ["ruby", "-e", ASK_RUBY],
        input=json.dumps(asked),
        env={"PATH": os.environ["PATH"], "TZ": "UTC", "LANG": "C.UTF-8"},
        capture_output=True,
        check=True,
        text=True,
    )
    answers = json.loads(answer.stdout)
    return {
        "cron": dict(zip(cron, answers["cron"], strict=True)),
        "every": dict(zip(every, answers["every"], strict=True)),
    }


@cache
def rufus_is_here() -> bool:
    """Whether the installed Ruby has the gem."""
    asked = ["ruby", "-rrufus-scheduler", "-e", ""]
    return bool(shutil.which("ruby")) and subprocess.run(asked, check=False).returncode == 0


def recorded() -> dict[str, Any]:
    """The answers on file."""
    answers: dict[str, Any] = json.loads(RECORDED.read_text())
    return answers


def judge(expression: str, ruby: object) -> str:
    """How our reading of an expression stands to Ruby's."""
    try:
        schedule = CronSchedule.parse(expression)
    except InvalidCron as error:
        known = any(reason in str(error) for reason in OURS_REFUSED)
        return "both refuse" if not isinstance(ruby, list) else "we refuse" if known else str(error)
    moment, fires = START, []
    for _ in range(FIRES):
        moment = schedule.next_after(moment) or moment
        fires.append(int(moment.timestamp()))
    safe = why_not_rufus({"cron": expression}) is None
    if fires == ruby:
        return "equal" if safe else "equal, yet kept away"
    return "DIFFERENT, and written" if safe else "different, kept away"


def test_recorded_expressions() -> None:
    """Nothing that Ruby refuses, dies of or reads otherwise is ever written for Ruby."""
    answers = recorded()["cron"]

    judged = {expression: judge(expression, ruby) for expression, ruby in answers.items()}

    expected = {"equal", "equal, yet kept away", "both refuse", "we refuse", "different, kept away"}
    assert {text: found for text, found in judged.items() if found not in expected} == {}
    assert sum(found == "equal" for found in judged.values()) > len(judged) / 3
    assert judged["0 0 * * 1%2"] == judged["0 12 L * * America/New_York"] == "equal"
    assert judged["*/0 * * * *"] == judged["0 0 -30 2 *"] == "both refuse"
    assert judged["0 0 * * mon#1,mon%2"] == judged["0 0 30 2,3 mon"] == "different, kept away"


def test_recorded_intervals() -> None:
    """`every` is read as Ruby reads it; only what is not positive is refused beside."""
    for text, seconds in recorded()["every"].items():
        if seconds is None or seconds <= 0:
            with pytest.raises(InvalidEvery):
                parse_every(text)
        else:
            assert parse_every(text) == round(seconds * 1000), text


@pytest.mark.ruby
@pytest.mark.full
def test_ruby_still_says_the_same() -> None:
    """The recording is what the installed Ruby answers."""
    require("ruby", None if rufus_is_here() else "no Ruby with rufus-scheduler")
    answers = recorded()

    again = ask_ruby(list(answers["cron"]), list(answers["every"]))

    assert again == answers


@pytest.mark.ruby
@pytest.mark.parametrize("count", [200, pytest.param(20_000, marks=pytest.mark.full)])
@pytest.mark.timeout(600)
def test_random_expressions(count: int) -> None:
    """On expressions never seen before the same holds."""
    require("ruby", None if rufus_is_here() else "no Ruby with rufus-scheduler")
    seed = random.randrange(10**9)
    made = Expressions(seed)

    answers = ask_ruby([made.one() for _ in range(count)], [])["cron"]

    judged = {text: judge(text, ruby) for text, ruby in answers.items()}
    wrong = [text for text, found in judged.items() if found == "DIFFERENT, and written"]
    assert wrong == [], f"seed {seed}"


def record() -> None:
    """Write what the installed Ruby answers."""
    made = Expressions(seed=1)
    cron = list(dict.fromkeys([*CURATED_CRON, *(made.one() for _ in range(400))]))
    lines = (
        f'"{kind}": {{\n'
        + ",\n".join(f"{json.dumps(text)}: {json.dumps(said)}" for text, said in answers.items())
        + "\n}"
        for kind, answers in ask_ruby(cron, CURATED_EVERY).items()
    )
    RECORDED.write_text("{" + ",\n".join(lines) + "}\n")


if __name__ == "__main__":
    record()
