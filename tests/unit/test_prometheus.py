"""The text format of Prometheus, read by Prometheus' own client."""

from __future__ import annotations

from hypothesis import given, strategies as st
from prometheus_client.parser import text_string_to_metric_families

from resqpy.framework.process.metrics import Histogram, Metric, metric, render


def _read(*metrics: Metric) -> dict[tuple[str, str], float]:
    families = text_string_to_metric_families(render(metrics).decode())
    return {
        (each.name, next(iter(each.labels.values()), "")): each.value
        for family in families
        for each in family.samples
    }


@given(st.text(st.characters(codec="utf-8")))
def test_any_text_is_a_label(text: str) -> None:
    """Quotes, backslashes and new lines too."""
    found = Metric("resqpy_x", "gauge", text)
    found.add(1.5, name=text)

    assert list(_read(found).items()) == [(("resqpy_x", text), 1.5)]


def test_the_text() -> None:
    """As the page of the format has it; what has no value is left out."""
    jobs = Metric("resqpy_jobs_total", "counter", "Jobs\nthat ended \\.")
    jobs.add(3, task='a "b"\\\n', outcome="failed")

    assert render([jobs, Metric("resqpy_none", "gauge", "Nothing.")]).decode() == (
        "# HELP resqpy_jobs_total Jobs\\nthat ended \\\\.\n"
        "# TYPE resqpy_jobs_total counter\n"
        'resqpy_jobs_total{task="a \\"b\\"\\\\\\n",outcome="failed"} 3\n'
    )


def test_a_name_that_is_not_utf_8_is_shown() -> None:
    """By a backslash, which is no escape of the format."""
    found = Metric("resqpy_x", "gauge", "")
    found.add(1, queue=b"a\xff".decode("utf-8", "surrogateescape"))

    assert list(_read(found)) == [("resqpy_x", "a\\udcff")]


def test_a_histogram() -> None:
    """Each bucket has what the smaller ones have; a value that equals a bound belongs to it."""
    seen = Histogram((0.1, 1.0))
    for value in (0.05, 0.1, 0.5, 7.0):
        seen.observe(value)

    assert _read(metric("resqpy_x_seconds", "histogram", "", seen)) == {
        ("resqpy_x_seconds_bucket", "0.1"): 2,
        ("resqpy_x_seconds_bucket", "1"): 3,
        ("resqpy_x_seconds_bucket", "+Inf"): 4,
        ("resqpy_x_seconds_sum", ""): 7.65,
        ("resqpy_x_seconds_count", ""): 4,
    }
