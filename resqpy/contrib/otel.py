"""Spans and metrics for OpenTelemetry, by its conventions for messaging; needs the extra `otel`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from opentelemetry import context as contexts, metrics, propagate, trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, SpanKind, Status, StatusCode

from resqpy.base.clock import SYSTEM_CLOCK
from resqpy.base.imports import own_version
from resqpy.engine.lifecycle import Snooze
from resqpy.engine.plugin import Enqueuing
from resqpy.framework.tasks.failures import JobFailure
from resqpy.framework.tasks.middleware import INSTALLED, Middleware, TaskCall

_NAME, _SPAN = "resqpy", "resqpy.contrib.otel"  # the latter in the state of a run or an enqueue


class ProcessTracing(Middleware):
    """A span `process <queue>` for each run; derive from it in `middleware/`.

    A job that carries a trace (`traceparent`, `tracestate` and `baggage` beside its class, as Ruby's
    instrumentation and `SendTracing` write them) is linked to the span that sent it. Jobs that fail without a run
    have a span too. Measures `messaging.process.duration` and `messaging.client.consumed.messages`.

    Attributes:
        child: the span belongs to the trace of the one that sent the job, instead of to a trace of its own that
            is linked to it.
    """

    everywhere: ClassVar[bool] = True
    priority: ClassVar[int] = 2  # around all others but Sentry
    child: ClassVar[bool] = False

    def __init__(self) -> None:
        super().__init__()
        meter = metrics.get_meter(_NAME, own_version())
        self._duration = meter.create_histogram(
            "messaging.process.duration", "s", "Duration of the processing of a job."
        )
        self._consumed = meter.create_counter(
            "messaging.client.consumed.messages", "{message}", "Jobs whose run has begun."
        )

    def around_run(self, call: TaskCall) -> Iterator[None]:
        """The span of a run."""
        run, began_s = call.run, SYSTEM_CLOCK.monotonic()
        run.state[_SPAN] = True
        told = attributes("process", run.queue, call.task.name)
        if run.shadow:
            told["resqpy.shadow"] = True
        facts = run.lifecycle.facts()
        span = self._start(run.queue, run.job.extra, {**told, **_of_record(facts)})
        token = contexts.attach(trace.set_span_in_context(span, _sent(run.job.extra)))
        try:
            yield
        except Snooze:
            raise  # no error: it is run later
        except BaseException as error:
            told["error.type"] = _record(span, error)
            raise
        finally:
            contexts.detach(token)
            span.end()
            self._consumed.add(1, told)
            self._duration.record(SYSTEM_CLOCK.monotonic() - began_s, told)

    def on_failure(self, failure: JobFailure) -> None:
        """The span of a job that has failed without a run of its task."""
        run = failure.run
        if run is not None and _SPAN in run.state:
            return
        told = {
            **attributes("process", failure.queue, failure.name),
            "resqpy.attempt": failure.attempt,
        }
        span = self._start(failure.queue, {} if run is None else run.job.extra, told)
        _record(span, failure.error)
        span.end()

    def _start(self, queue: str, extra: Mapping[str, Any], told: dict[str, Any]) -> trace.Span:
        sent = _sent(extra)
        sender = trace.get_current_span(sent).get_span_context()
        if not self.child:
            sent = trace.set_span_in_context(trace.INVALID_SPAN, sent)
        links = [Link(sender)] if sender.is_valid and not self.child else []
        return _tracer().start_span(
            f"process {queue}", sent, SpanKind.CONSUMER, attributes=told, links=links
        )


class SendTracing(Middleware):
    """A span `send <queue>` for each job that is enqueued; derive from it in `middleware/`. What a hook or a lock
    forbids, and what Redis refuses, has none; nor have jobs that a scheduler moves or makes.

    Attributes:
        propagate: write the trace into the job, for whoever runs it: `traceparent`, `tracestate` and `baggage`
            beside its class. Ruby and Node then don't find it by its class and arguments, to delete it.
    """

    everywhere: ClassVar[bool] = True
    priority: ClassVar[int] = 1000  # after those that change or forbid it
    propagate: ClassVar[bool] = False

    def __init__(self) -> None:
        super().__init__()
        meter = metrics.get_meter(_NAME, own_version())
        self._sent = meter.create_counter(
            "messaging.client.sent.messages", "{message}", "Jobs that were enqueued."
        )

    def pre_enqueue(self, job: Enqueuing) -> None:
        """The span begins."""
        if job.fixed:
            return
        told = attributes("send", job.queue, job.class_name)
        span = _tracer().start_span(f"send {job.queue}", kind=SpanKind.PRODUCER, attributes=told)
        job.state[_SPAN] = span
        if self.propagate:
            propagate.inject(job.headers, trace.set_span_in_context(span))

    def post_enqueue(self, job: Enqueuing) -> None:
        """It ends."""
        span = job.state.pop(_SPAN, None)
        if span is not None:
            span.end()
            self._sent.add(1, attributes("send", job.queue, job.class_name))


class ResqpyInstrumentor:
    """For `opentelemetry-instrument` (entry point group `opentelemetry_instrumentor`), and by hand: both, in all
    projects that this process loads from then on, but those that have derived their own.
    """

    def instrument(self, **_: Any) -> None:
        """Begin."""
        self.uninstrument()
        INSTALLED.extend(_BOTH)

    def uninstrument(self, **_: Any) -> None:
        """End; projects that are loaded keep theirs."""
        INSTALLED[:] = [each for each in INSTALLED if each not in _BOTH]


_BOTH = (ProcessTracing, SendTracing)


def attributes(operation: str, queue: str, task: str) -> dict[str, Any]:
    """What each span and measurement has.

    Args:
        operation: `send` or `process`.
        task: its name; empty: the job can't be read.
    """
    known = {"resqpy.task.name": task} if task else {}
    return {
        "messaging.system": "resque",
        "messaging.operation.name": operation,
        "messaging.operation.type": operation,
        "messaging.destination.name": queue,
        **known,
    }


def _of_record(facts: Mapping[str, Any]) -> dict[str, Any]:
    """What the record of a tracked task says."""
    names = {
        "id": "messaging.message.id",
        "attempt": "resqpy.attempt",
        "waited_ms": "resqpy.wait_ms",
    }
    return {names[key]: value for key, value in facts.items() if key in names}


def _sent(extra: Mapping[str, Any]) -> Context:
    """The trace and the baggage that a job carries."""
    texts = {key: each for key, each in extra.items() if isinstance(each, str)}
    return propagate.extract(texts, Context())


def _record(span: trace.Span, error: BaseException) -> str:
    """Mark a span as failed; returns the error's type."""
    kind = type(error)
    name = (
        kind.__qualname__
        if kind.__module__ == "builtins"
        else f"{kind.__module__}.{kind.__qualname__}"
    )
    span.record_exception(error)
    span.set_attribute("error.type", name)
    span.set_status(Status(StatusCode.ERROR, str(error)))
    return name


def _tracer() -> trace.Tracer:
    return trace.get_tracer(_NAME, own_version())
