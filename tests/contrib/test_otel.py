"""`resqpy.contrib.otel`, with OpenTelemetry's own SDK and its exporter to memory."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from redis.asyncio import Redis

from resqpy import Process, Project, api
from resqpy.base import codec
from resqpy.base.errors import InvalidJob
from resqpy.base.imports import import_dotted
from resqpy.testing import drain
from tests.framework.conftest import MakeProject, until
from tests.support.source import ROOT

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
FROM_RUBY = {  # as opentelemetry-instrumentation-resque writes it
    "class": "charge", "args": [{"order": 1}], "traceparent": f"00-{TRACE}-{SPAN}-01",
    "tracestate": "rojo=1", "baggage": "customer=ada",
}  # fmt: skip
TASKS = """
from opentelemetry import baggage, trace
from resqpy import task

SEEN = []

@task
async def charge(order: int = 0, fails: bool = False):
    SEEN.append((trace.get_current_span().get_span_context().span_id, baggage.get_baggage("customer")))
    with trace.get_tracer("app").start_as_current_span("inner"):
        if fails:
            raise LookupError("no card")

@task
def plain(order: int = 0):
    with trace.get_tracer("app").start_as_current_span("inner"):
        return order
"""
RESTS = """
from resqpy import Snooze, task

@task
async def rests():
    raise Snooze(60_000)
"""
RUNS = """
from resqpy.contrib.otel import ProcessTracing

class Tracing(ProcessTracing):
    child = {child}
"""
BOTH = """
from resqpy.contrib.otel import ProcessTracing, SendTracing

class Runs(ProcessTracing):
    pass

class Sends(SendTracing):
    propagate = {propagate}
"""
EXPORTER, READER = InMemorySpanExporter(), InMemoryMetricReader()


@pytest.fixture(scope="session", autouse=True)
def _providers() -> None:
    """They can be set once in a process; an example of the docs may have been first."""
    provider = trace.get_tracer_provider()
    if not isinstance(provider, TracerProvider):
        provider = TracerProvider()
        trace.set_tracer_provider(provider)
    provider.add_span_processor(SimpleSpanProcessor(EXPORTER))
    metrics.set_meter_provider(MeterProvider([READER]))


@pytest.fixture(autouse=True)
def _forgotten() -> Iterator[None]:
    EXPORTER.clear()
    yield
    EXPORTER.clear()


def spans(name: str) -> list[ReadableSpan]:
    """The ended spans of a name."""
    return [each for each in EXPORTER.get_finished_spans() if each.name == name]


async def run_from_ruby(project: Project, redis: Redis) -> ReadableSpan:
    """The span of a job that Ruby has enqueued."""
    await redis.sadd("resque:queues", "default")
    await redis.rpush("resque:queue:default", json.dumps(FROM_RUBY))
    async with Process(project):
        await drain(raising=True)
    [span] = spans("process default")
    return span


async def test_a_snoozed_run_is_no_error(make_project: MakeProject, redis: Redis) -> None:
    """It has a span as any other."""
    project = make_project(middleware__tracing=RUNS.format(child=False), tasks__a=RESTS)
    async with Process(project):
        await api.tasks.enqueue("rests")
        drained = await drain()
    [span] = spans("process default")

    assert len(drained.snoozed) == 1
    assert span.status.status_code is StatusCode.UNSET
    assert span.attributes is not None
    assert "error.type" not in span.attributes


async def test_a_run_is_linked_to_what_sent_the_job(
    make_project: MakeProject, redis: Redis
) -> None:
    """In a trace of its own, with what the conventions ask for; the task sees it, and the baggage."""
    project = make_project(middleware__tracing=RUNS.format(child=False), tasks__a=TASKS)
    span = await run_from_ruby(project, redis)

    assert span.kind is SpanKind.CONSUMER
    assert span.context is not None
    assert format(span.context.trace_id, "032x") != TRACE
    assert span.parent is None
    [link] = span.links
    assert (format(link.context.trace_id, "032x"), format(link.context.span_id, "016x")) == (
        TRACE,
        SPAN,
    )
    assert dict(span.attributes or {}) == {
        "messaging.system": "resque",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": "default",
        "resqpy.task.name": "charge",
    }
    seen = project.registry.task("charge").run.__globals__["SEEN"]
    assert seen == [(span.context.span_id, "ada")]
    [inner] = spans("inner")
    assert inner.parent is not None
    assert inner.parent.span_id == span.context.span_id
    assert span.status.status_code is StatusCode.UNSET


@pytest.fixture
def instrumented() -> Iterator[None]:
    """As `opentelemetry-instrument` does it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    points = project["entry-points"]["opentelemetry_instrumentor"]
    instrumentor = import_dotted(points["resqpy"])()
    instrumentor.instrument(skip_dep_check=True)
    yield
    instrumentor.uninstrument()


@pytest.mark.usefixtures("instrumented")
@pytest.mark.parametrize("own", [False, True])
async def test_all_projects_are_instrumented(
    make_project: MakeProject, redis: Redis, own: bool
) -> None:
    """Without a file of theirs; one that has derived its own has no second span."""
    files = {"middleware__tracing": RUNS.format(child=True)} if own else {}
    span = await run_from_ruby(make_project(tasks__a=TASKS, **files), redis)
    assert bool(span.parent) is own
    async with Process(make_project(tasks__a=TASKS)):
        await api.tasks.enqueue("charge", {})
    assert [each.kind for each in spans("send default")] == [SpanKind.PRODUCER]


async def test_by_choice_it_is_a_child(make_project: MakeProject, redis: Redis) -> None:
    """Of the span that sent the job, in its trace."""
    project = make_project(middleware__tracing=RUNS.format(child=True), tasks__a=TASKS)
    span = await run_from_ruby(project, redis)

    assert span.parent is not None
    assert format(span.parent.span_id, "016x") == SPAN
    assert span.context is not None
    assert format(span.context.trace_id, "032x") == TRACE
    assert span.links == ()


async def test_an_error_is_recorded(make_project: MakeProject, redis: Redis) -> None:
    """By its type, also that of a job without a run; of a plain task the span is current in its thread."""
    project = make_project(middleware__tracing=RUNS.format(child=False), tasks__a=TASKS)
    async with Process(project):
        await api.tasks.enqueue("charge", {"fails": True})
        await api.tasks.enqueue("plain")
        await redis.rpush("resque:queue:default", b'{"class":"gone","args":[]}', b"\xff")
        await drain()

    found = spans("process default")
    assert [(each.attributes or {}).get("error.type") for each in found] == [
        "LookupError", None, "resqpy.base.errors.UnknownTask", "resqpy.base.errors.PayloadError",
    ]  # fmt: skip
    assert [(each.attributes or {}).get("resqpy.task.name") for each in found] == [
        "charge",
        "plain",
        "gone",
        None,
    ]
    assert [each.status.status_code for each in found] == [
        StatusCode.ERROR, StatusCode.UNSET, StatusCode.ERROR, StatusCode.ERROR,
    ]  # fmt: skip
    assert [each.name for each in found[0].events] == ["exception"]
    parents = [each.parent.span_id for each in spans("inner") if each.parent is not None]
    assert parents == [each.context.span_id for each in found[:2] if each.context is not None]


async def test_what_is_sent_has_a_span(make_project: MakeProject, redis: Redis) -> None:
    """A child of the current one; the job's bytes are as without it."""
    project = make_project(middleware__tracing=BOTH.format(propagate=False), tasks__a=TASKS)
    async with Process(project):
        with trace.get_tracer("app").start_as_current_span("request") as request:
            await api.tasks.enqueue("charge", {"order": 1})
        await api.tasks.enqueue_many([("plain", {}), ("plain", {})])
        waiting = await redis.lrange("resque:queue:default", 0, 0)
        await drain(raising=True)

    assert waiting == [b'{"class":"charge","queue":"default","args":[{"order":1}]}']
    first, *others = spans("send default")
    assert len(others) == 2
    assert first.kind is SpanKind.PRODUCER
    assert first.parent is not None
    assert first.parent.span_id == request.get_span_context().span_id
    assert (first.attributes or {})["messaging.operation.type"] == "send"
    assert [each.links for each in spans("process default")] == [()] * 3


async def test_by_choice_the_job_carries_the_trace(make_project: MakeProject, redis: Redis) -> None:
    """Just before its arguments; all verbs still find it, and a retry keeps it."""
    text = (
        TASKS
        + '@task(retry={"retry_limit": 2, "retry_delay": 1000})\nasync def again():\n    raise OSError\n'
    )
    project = make_project(middleware__tracing=BOTH.format(propagate=True), tasks__a=text)
    async with Process(project):
        await api.tasks.enqueue("again")
        [raw] = await redis.lrange("resque:queue:default", 0, -1)
        await drain(delayed=True)
        [send] = spans("send default")
        assert send.context is not None
        parent = f"00-{send.context.trace_id:032x}-{send.context.span_id:016x}-{send.context.trace_flags:02x}"
        assert raw == (
            b'{"class":"again","queue":"default","traceparent":"%b","args":[{}]}' % parent.encode()
        )
        assert [each.links[0].context.span_id for each in spans("process default")] == [
            send.context.span_id
        ] * 2

        await api.tasks.enqueue("charge", {"order": 1})
        await api.tasks.enqueue_in(60_000, "charge", {"order": 2})
        assert await api.tasks.delete("default", "charge", {"order": 1}) == 1
        assert len(await api.tasks.del_delayed("default", "charge", {"order": 2})) == 1
        assert await api.tasks.length("default") == 0


async def test_a_delayed_job_carries_nothing(make_project: MakeProject, redis: Redis) -> None:
    """Its bytes exist when its hooks are called, and Ruby and Node find it by them; nor does a tracked one."""
    project = make_project(middleware__tracing=BOTH.format(propagate=True), tasks__a=TASKS)
    async with Process(project):
        await api.tasks.enqueue_in(1000, "charge")
        await drain(delayed=True)
        assert spans("send default") == []
        assert [each.links for each in spans("process default")] == [()]
    async with Process(project, worker=True):
        tracked = await api.tracked.create("charge")
        await until(lambda: len(spans("process default")) == 2)
    told = spans("process default")[1].attributes or {}
    assert (told["messaging.message.id"], told["resqpy.attempt"]) == (tracked.id, 1)


async def test_runs_are_measured(make_project: MakeProject) -> None:
    """How many were sent and begun, and how long they took."""
    project = make_project(middleware__tracing=BOTH.format(propagate=False), tasks__a=TASKS)
    async with Process(project):
        await api.tasks.enqueue("charge", {"order": 5}, "measured")
        await drain("measured", raising=True)

    data: Any = READER.get_metrics_data()
    points = {
        each.name: [
            point for point in each.data.data_points
            if point.attributes["messaging.destination.name"] == "measured"
        ]
        for resource in data.resource_metrics for scope in resource.scope_metrics for each in scope.metrics
    }  # fmt: skip
    assert [each.value for each in points["messaging.client.sent.messages"]] == [1]
    assert [each.value for each in points["messaging.client.consumed.messages"]] == [1]
    assert [each.count for each in points["messaging.process.duration"]] == [1]


@pytest.mark.parametrize("headers", [{"class": "x"}, {"resqpy_expires": "1"}, {"a": 1}, {"": "x"}])
def test_headers_that_mean_something_else_are_refused(headers: Any) -> None:
    """A hook can't change what the job is."""
    with pytest.raises(InvalidJob, match="headers"):
        codec.with_headers(codec.encode_job("a", "q", []), headers)


def test_headers_stand_behind_the_ends_of_a_job() -> None:
    """So that these are found where they are looked for."""
    raw, _ = codec.with_ends(codec.encode_job("a", "q", [1]), [(codec.EXPIRES, 1_800_000_000_000)])
    sent = codec.with_headers(raw, {"trace\ud800": 'x"y'})
    extra = {codec.EXPIRES: 1_800_000_000_000, "trace\\ud800": 'x"y'}
    assert codec.decode_job(sent, "q").extra == extra
    assert codec.without_ends(sent).startswith(b'{"class":"a","queue":"q","trace')
