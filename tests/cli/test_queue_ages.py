"""How long jobs wait, as everybody is shown it."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families
from redis import Redis

from resqpy.base.queue_age import QueueAge
from resqpy.cli.output.printing import Exit
from tests.cli.conftest import Call

MINUTE_MS = 60_000


@pytest.fixture
def ages(client: Redis) -> Redis:
    """What a leader has published: of a queue that falls behind, one with equal jobs, one without."""
    now = client.time()
    now_ms = now[0] * 1000 + now[1] // 1000
    client.sadd("resque:queues", "mail", "tick", "calm")
    for name in ("mail", "mail", "tick"):
        client.rpush(f"resque:queue:{name}", '{"class":"SendMail","args":[]}')
    for name, age in {
        "mail": QueueAge(
            now_ms, 2, now_ms - 20 * MINUTE_MS, 1000, "exact", 9, 7, 3.0, 1.0, counted=True
        ),
        "tick": QueueAge(now_ms, 1, now_ms - 500, 1000, "at_most", 5, 4, 0.0, 0.5, counted=False),
    }.items():
        client.hset("resque:resqpy:ages", name, age.text())
    client.hset("resque:resqpy:ages", "", now_ms)
    return client


def test_queues_shows_them(resqpy: Call, ages: Redis) -> None:
    """With what is not exact marked as such."""
    shown = {each["queue"]: each for each in resqpy("queues", "--json").json}
    lines = resqpy("queues").out.splitlines()

    mail, tick, calm = (shown[name] for name in ("mail", "tick", "calm"))
    assert 20 * MINUTE_MS <= mail["age_ms"] < 21 * MINUTE_MS
    assert (mail["age_accuracy"], mail["rates_complete"], mail["drain_s"]) == ("exact", True, None)
    assert (tick["age_accuracy"], tick["rates_complete"]) == ("at_most", False)
    assert tick["drain_s"] == pytest.approx(2, abs=1)
    assert (calm["age_ms"], calm["arrivals_s"], calm["drain_s"]) == (None, 0.0, 0.0)
    [of_mail] = [line for line in lines if line.startswith("mail")]
    assert "20 m" in of_mail
    assert of_mail.endswith("never")
    assert any(line.startswith("tick") and "≤" in line for line in lines)


def test_where_nobody_leads_it_is_not_known(resqpy: Call, client: Redis) -> None:
    """Neither old nor new."""
    client.sadd("resque:queues", "mail")
    client.rpush("resque:queue:mail", "{}")
    said = resqpy("queues")

    assert (said.code, "scheduler" in said.err) == (Exit.OK, True)
    assert "?" in said.out
    assert resqpy("queues", "--json").json[0]["age_ms"] is None
    assert resqpy("info", "--json").json["ages"] == {}


def test_info_doctor_and_metrics_show_them(resqpy: Call, ages: Redis) -> None:
    """What is behind is named where live workers work it."""
    info = resqpy("info")
    of_nobody = {each["name"] for each in resqpy("doctor", "--json").json}
    ages.sadd("resque:workers", "host:1:*")
    doctor = {each["name"]: each for each in resqpy("doctor", "--json").json}
    families = text_string_to_metric_families(resqpy("info", "--prometheus").out)
    found = {(each.name, *each.labels.values()): each.value for f in families for each in f.samples}

    assert "20 m" in info.out.splitlines()[0]
    assert "queues that fall behind" not in of_nobody
    assert "mail (20 m" in doctor["queues that fall behind"]["problem"]
    assert found["resqpy_queue_latency_seconds", "mail"] == pytest.approx(1200, abs=60)
    assert found["resqpy_queue_latency_approximate", "mail"] == 0
    assert found["resqpy_queue_latency_approximate", "tick"] == 1
    assert found["resqpy_queue_arrivals_total", "mail"] == 9
    assert found["resqpy_queue_departures_total", "mail"] == 7
    assert found["resqpy_queue_drain_seconds", "mail"] == float("inf")
