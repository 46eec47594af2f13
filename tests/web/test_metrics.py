"""The page of what ran, its charts, and the same over the API."""

from __future__ import annotations

import csv
import io
import re
from html import unescape
from typing import Any

import pytest
from redis.asyncio import Redis

from resqpy.base.history import (
    BUCKETS,
    FAILED,
    GRAINS,
    LOST,
    QUEUES,
    RETRIED,
    RUN_MS,
    RUNS,
    TASKS,
    WAIT_MS,
    WAITED,
    new_record,
)
from resqpy.store import history
from resqpy.web import app
from tests.support.waiting import wait_for
from tests.web.asking import ApiClient
from tests.web.conftest import Browser, MakeConsole, as_role
from tests.web.test_pages import words


def record(
    runs: int, failed: int = 0, *, bucket: int = 4, ms: int = 80, lost: int = 0
) -> list[int]:
    """Runs of the same length, 50 to 100 ms if nothing else is said."""
    made = new_record()
    made[RUNS], made[FAILED], made[RETRIED], made[LOST] = runs, failed, 2 * failed, lost
    made[RUN_MS], made[BUCKETS + bucket] = runs * ms, runs
    made[WAITED], made[WAIT_MS] = runs, runs * 300
    return made


async def put(redis: Redis, kind: str, ago_s: int, **values: list[int]) -> None:
    """Put records into the slots of a time that is past."""
    seconds, _ = await redis.time()
    for grain in GRAINS:
        at = seconds - ago_s
        key = f"resque:resqpy:history:{kind}:{grain.name}:{at - at % grain.step_s}"
        await redis.hset(
            key, mapping={n.replace("_", ""): ",".join(map(str, v)) for n, v in values.items()}
        )


async def filled(redis: Redis) -> None:
    """Two tasks of two queues, and what others did."""
    await put(redis, TASKS, 300, Send=record(90, 9), Pay=record(10, 0, bucket=9, ms=3000, lost=1))
    await put(redis, TASKS, 7200, Old=record(5))
    await put(redis, QUEUES, 300, mail=record(90, 9), money=record(10, bucket=5))
    await put(redis, "sample", 1200, _=[1000, 50, 7, 1, 2, 1], mail=[7, 4000])
    await put(redis, "sample", 60, _=[1500, 80, 3, 1, 2, 1], mail=[3, 65_000])
    seconds, _ = await redis.time()
    mark: Any = {"text": "v1.2", "by": "ci"}
    await redis.xadd("resque:resqpy:history:marks", mark, id=f"{(seconds - 600) * 1000}-0")


@pytest.fixture
def viewer(make_console: MakeConsole) -> Browser:
    """Who may see."""
    return Browser(make_console(authenticate=as_role("viewer")))


def rows(page: str, heading: str) -> list[list[str]]:
    """The cells of the table below a heading."""
    return table(page, f"<h2>{heading}</h2>")


def table(page: str, after: str) -> list[list[str]]:
    """The cells of the table after a text."""
    body = page.split(after)[1].split("</table>", maxsplit=1)[0].split("<tbody>")[1]
    found = [re.findall(r"<td[^>]*>(.*?)</td>", row, re.DOTALL) for row in body.split("</tr>")[:-1]]
    return [[unescape(re.sub(r"<[^>]*>", "", cell)).strip() for cell in row] for row in found]


async def test_what_ran_in_an_hour(viewer: Browser, redis: Redis) -> None:
    """By task and by queue, with percentiles; marks; and what others did, by their counters."""
    await filled(redis)
    async with viewer as browser:
        page = (await browser.get("/metrics")).text
    assert rows(page, "Tasks") == [
        ["Send", "90", "9 10.0 %", "18", "–", "75 ms", "98 ms", "100 ms", "300 ms"],
        ["Pay", "10", "–", "–", "1", "3.75 s", "4.88 s", "4.97 s", "300 ms"],
    ]
    assert rows(page, "Queues") == [
        ["mail", "90", "9", "< 0.1 s", "< 0.1 s", "< 0.1 s", "7"],
        ["money", "10", "–", "175 ms", "242 ms", "248 ms", "–"],
    ]
    said = words(page)
    assert "Runs 100 in the last hour Failed 9 9.0 %" in said
    # 500 more were processed and 30 failed, of which 91 and 9 (and 18 retried) are known
    assert "also ran about 409 jobs, and 3 failed" in said
    assert "v1.2" in said
    assert page.count("<svg") == 4
    assert page.count('class="mark" d="M') == 4
    assert len(re.findall(r'<rect class="ok"', page)) == 1
    assert len(re.findall(r'<rect class="bad" x="5[345].12" y="91.0"', page)) == 1


@pytest.mark.parametrize("period", ["8h", "72h", "30d"])
async def test_longer_periods(viewer: Browser, redis: Redis, period: str) -> None:
    """Have also what ran before; whatever the length of their slots, each run is counted once."""
    await filled(redis)
    async with viewer as browser:
        page = (await browser.get(f"/metrics?period={period}")).text
    assert {row[0]: row[1] for row in rows(page, "Tasks")} == {
        "Send": "90",
        "Pay": "10",
        "Old": "5",
    }


async def test_one_task(viewer: Browser, redis: Redis) -> None:
    """Only what ran of it; the period stays."""
    await filled(redis)
    async with viewer as browser:
        page = (await browser.get("/metrics?period=8h&task=Pay")).text
        other = (await browser.get("/metrics?task=Nobody")).text
    assert [row[:2] for row in rows(page, "Tasks")] == [["Pay", "10"]]
    assert "<h2>Queues</h2>" not in page
    assert "/metrics?period=30d&amp;task=Pay" in page
    assert "This task did not run in the last hour" in words(other)


async def test_nothing_is_known_yet(viewer: Browser, redis: Redis) -> None:
    """It says so, and who would know."""
    async with viewer as browser:
        said = words((await browser.get("/metrics")).text)
        assert "The last hour" not in (await browser.get("/")).text
        wrong = await browser.get("/metrics?period=1w")
    assert "Nothing ran in the last hour" in said
    assert "leads takes them once a minute" in said
    assert wrong.status_code == 400
    assert "1h, 8h, 72h, 30d" in wrong.text


async def test_the_overview_has_the_last_hour(viewer: Browser, redis: Redis) -> None:
    """And the tasks that failed most."""
    await filled(redis)
    async with viewer as browser:
        page = (await browser.get("/")).text
    assert "Runs a minute: 100 runs, 9 failed" in page
    assert "Failing most Runs Failed p95 Send 90 9 10.0 % 98 ms" in words(page)


async def test_a_console_takes_samples_where_nobody_leads(
    make_console: MakeConsole, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that may write; the other says why there are none."""
    monkeypatch.setattr(app, "_until_sample_s", lambda: 0.01)
    await redis.rpush("resque:queue:mail", "a", "b")
    await redis.sadd("resque:queues", "mail")
    read_only = make_console(authenticate=as_role("admin"), read_only=True)
    async with Browser(read_only) as browser:
        said = words((await browser.get("/metrics")).text)
    assert "this console is read-only" in said
    assert await redis.keys("resque:resqpy:*") == []

    console = make_console(authenticate=as_role("admin"))
    await console.open()

    async def sampled() -> bool:
        keys = await redis.keys("resque:resqpy:history:sample:1h:*")
        return bool(keys and await redis.hget(keys[0], "mail"))

    await wait_for(sampled)
    async with Browser(console) as browser:
        page = (await browser.get("/metrics?period=8h")).text
    assert rows(page, "Queues")[0][0] == "mail"
    assert rows(page, "Queues")[0][-1] == "2"


async def test_the_api_has_the_same(api: ApiClient, redis: Redis) -> None:
    """As numbers."""
    await filled(redis)
    found = (await api("GET /history")).json
    tasks = {each["task"]: each for each in found["tasks"]}
    assert (tasks["Send"]["runs"], tasks["Send"]["failed"], tasks["Send"]["run_p95_ms"]) == (
        90,
        9,
        98,
    )
    assert tasks["Pay"]["lost"] == 1
    assert {each["queue"]: each["longest"] for each in found["queues"]} == {
        "mail": 7,
        "money": None,
    }
    assert found["others"] == {"succeeded": 409, "failed": 3}
    assert [(each["text"], each["by"]) for each in found["marks"]] == [("v1.2", "ci")]
    assert len(found["points"]) == 60
    assert sum(each["runs"] for each in found["points"]) == found["total"]["runs"] == 100
    assert max(each["waiting"] or 0 for each in found["points"]) == 7
    only = (await api("GET /history?period=30d&task=Old")).json
    assert [each["task"] for each in only["tasks"]] == ["Old"]
    assert only["queues"] == []
    wrong = await api("GET /history?period=8")
    assert (wrong.status, wrong.json["near"]) == (400, "8h")


async def test_a_month_is_read_in_few_round_trips(api: ApiClient, redis: Redis) -> None:
    """A command for each slot and kind, twenty a trip."""
    await filled(redis)
    await api("GET /history")
    await redis.config_resetstat()
    await api("GET /history?period=30d")
    stats = await redis.info("commandstats")
    assert stats["cmdstat_hgetall"]["calls"] <= 3 * 720 + 2


async def test_the_store_reads_what_it_wrote(make_console: MakeConsole, redis: Redis) -> None:
    """From a process' counters to the page."""
    console = make_console(authenticate=as_role("viewer"))
    await console.open()
    await history.write(console.resque.store, {(TASKS, "Send"): record(3, 1)})
    await history.mark(console.resque.store, "v2", "ann")
    async with Browser(console) as browser:
        page = (await browser.get("/metrics")).text
    assert rows(page, "Tasks")[0][:3] == ["Send", "3", "1 33.3 %"]
    assert "v2" in words(page)


async def test_how_long_runs_took(viewer: Browser, redis: Redis) -> None:
    """A map of shades: few runs are seen beside many; and the same as a table."""
    await put(redis, TASKS, 300, Send=record(1000), Pay=record(1, bucket=8))
    await put(redis, TASKS, 1500, Send=record(30))
    async with viewer as browser:
        page = (await browser.get("/metrics")).text
        empty = (await browser.get("/metrics?task=Nobody")).text
    shades = dict(re.findall(r'<path class="line heat(\d)" d="([^"]*)"', page))
    [(many, many_y), (some, _), (few, few_y)] = [
        re.findall(r"M(\d+) ([\d.]+)h1", shades[shade])[0] for shade in ("5", "3", "1")
    ]
    assert (many, many_y, few_y) == (few, "80.0", "0.0")  # five classes, the longest above
    assert int(some) == int(many) - 20
    [[_, *row], [_, *other]] = [
        each for each in table(page, "How long runs took, as a table") if len(each) == 6
    ]
    assert (row, other) == (["30", "–", "–", "–", "–"], ["1000", "–", "–", "–", "1"])
    assert "≤ 100 ms" in unescape(page)
    assert "most took ≤ 100 ms; the longest ≤ 2.5 s, the shortest ≤ 100 ms" in unescape(page)
    assert "heat" not in empty


async def test_tables_for_other_programs(viewer: Browser, redis: Redis) -> None:
    """As CSV, by a link or by what a client accepts; no text of Redis is a formula there."""
    await filled(redis)
    await put(redis, TASKS, 300, **{'=cmd|"x"!A1': record(3), "a\u202eb": record(1)})
    async with viewer as browser:
        page = (await browser.get("/metrics?task=Pay")).text
        links = re.findall(r'href="(/metrics\?[^"]*format=csv)"', page)
        linked = await browser.get(unescape(links[0]))
        tasks = await browser.get("/metrics?of=tasks", headers={"accept": "text/csv"})
        points = await browser.get("/metrics?period=8h&format=csv")
        queues = await browser.get("/metrics?of=queues&format=csv")
        wrong = await browser.get("/metrics?of=queue&format=csv")
        none = await browser.get("/metrics?of=queues&task=Pay&format=csv")
    found = [*csv.DictReader(io.StringIO(tasks.text))]
    assert tasks.headers["content-type"] == "text/csv; charset=utf-8"
    assert [each["task"] for each in found] == ["Send", "Pay", '\'=cmd|"x"!A1', "a\\u202eb"]
    assert (found[0]["runs"], found[0]["failed"], found[0]["run_p95_ms"]) == ("90", "9", "98")
    assert [each["task"] for each in csv.DictReader(io.StringIO(linked.text))] == ["Pay"]
    assert 'filename="Pay-1h.csv"' in linked.headers["content-disposition"]
    rows_of = [*csv.DictReader(io.StringIO(points.text))]
    assert (len(rows_of), sum(int(each["runs"]) for each in rows_of)) == (48, 109)
    assert [each["queue"] for each in csv.DictReader(io.StringIO(queues.text))] == ["mail", "money"]
    assert (wrong.status_code, "queues" in wrong.text) == (400, True)
    assert none.text == "queue\r\n"


async def test_a_page_is_not_given_for_a_table(make_console: MakeConsole, redis: Redis) -> None:
    """Nor the other way round, though both have one address."""
    await filled(redis)
    console = make_console(authenticate=as_role("viewer"))
    async with Browser(console, shares=True) as browser:
        kinds = [
            (await browser.get("/metrics", headers={"accept": accept})).headers["content-type"]
            for accept in ("text/html", "text/csv", "text/html,*/*;q=0.8")
        ]
    assert [each.partition(";")[0] for each in kinds] == ["text/html", "text/csv", "text/html"]
