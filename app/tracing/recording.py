"""Records spans with OpenTelemetry's SDK and sends them over OTLP. Imported where a deployment wants traces.

The SDK's own variables (OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_EXPORTER_OTLP_HEADERS, OTEL_TRACES_SAMPLER, ...)
say where they go and how many of them.
"""

from __future__ import annotations

import os
from datetime import datetime
from typing import Any

from opentelemetry import context, trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, Status, StatusCode, TraceFlags
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from app.tracing.spans import Attributes, Span, SpanKind, Whole, use_recorder

_HEADER = "traceparent"
_W3C = TraceContextTextMapPropagator()
_KINDS = {kind: trace.SpanKind[kind.name] for kind in SpanKind}
_SCOPE = InstrumentationScope("star")


class RecordedSpan(Span):
    """A span of the SDK."""

    def __init__(self, sdk: trace.Span) -> None:
        self.sdk = sdk

    def note(self, attributes: Attributes) -> None:
        self.sdk.set_attributes(_known(attributes))

    def rename(self, name: str) -> None:
        self.sdk.update_name(name)

    def fail(self, error_type: str) -> None:
        """The type and never the message: that may quote what a user has uploaded."""
        self.sdk.set_attribute("error.type", error_type)
        self.sdk.set_status(Status(StatusCode.ERROR))

    def end(self) -> None:
        if self.sdk.is_recording():
            self.sdk.end()


class OpenTelemetry:
    """Records the spans of this process; `role` is api, worker, scheduler or serving."""

    def __init__(self, role: str, processor: SpanProcessor) -> None:
        name = os.environ.get("OTEL_SERVICE_NAME", f"star-{role}")
        self._resource = Resource.create({"service.name": name, "service.instance.id": str(os.getpid())})
        self._provider = TracerProvider(resource=self._resource)
        self._provider.add_span_processor(processor)
        self._processor = processor
        self._tracer = self._provider.get_tracer(_SCOPE.name)
        self._ids = RandomIdGenerator()

    def begin(
        self,
        name: str,
        attributes: Attributes,
        kind: SpanKind,
        parent: str | None,
        link: str | None,
        began: int,
    ) -> Span:
        caused = _context_of(link)
        begun = self._tracer.start_span(
            name,
            context=None if parent is None else _W3C.extract({_HEADER: parent}),
            kind=_KINDS[kind],
            attributes=_known(attributes),
            links=[] if caused is None else [Link(caused)],
            start_time=began or None,
        )
        return RecordedSpan(begun)

    def make_current(self, span: Span) -> object:
        begun = span.sdk if isinstance(span, RecordedSpan) else trace.INVALID_SPAN
        return context.attach(trace.set_span_in_context(begun))

    def make_former_current(self, token: Any) -> None:
        context.detach(token)

    def traceparent(self) -> str | None:
        carrier: dict[str, str] = {}
        _W3C.inject(carrier)
        return carrier.get(_HEADER)

    def new_root(self) -> tuple[str, str | None]:
        above = trace.get_current_span().get_span_context()
        trace_id, flags = above.trace_id, int(above.trace_flags)
        if not above.is_valid:
            trace_id, flags = self._ids.generate_trace_id(), int(TraceFlags.SAMPLED)
        own = f"00-{trace_id:032x}-{self._ids.generate_span_id():016x}-{flags:02x}"
        return own, self.traceparent()

    def record_whole(self, whole: Whole) -> None:
        own = _context_of(whole.traceparent)
        if own is None or not own.trace_flags.sampled:
            return
        failed = whole.error_type is not None
        attributes = {**whole.attributes, "error.type": whole.error_type}
        self._processor.on_end(
            ReadableSpan(
                whole.name,
                context=own,
                parent=_context_of(whole.parent),
                resource=self._resource,
                attributes=_known(attributes),
                status=Status(StatusCode.ERROR if failed else StatusCode.UNSET),
                start_time=_nanoseconds(whole.began),
                end_time=_nanoseconds(whole.ended),
                instrumentation_scope=_SCOPE,
            )
        )

    def shutdown(self) -> None:
        """Send what was recorded; nothing is recorded any more."""
        use_recorder(None)
        self._provider.shutdown()


def record_with(role: str, exporter: SpanExporter) -> OpenTelemetry:
    """Record this process's spans and give them to `exporter`, in batches, from a thread."""
    recorder = OpenTelemetry(role, BatchSpanProcessor(exporter))
    use_recorder(recorder)
    return recorder


def _context_of(traceparent: str | None) -> SpanContext | None:
    if traceparent is None:
        return None
    found = trace.get_current_span(_W3C.extract({_HEADER: traceparent}, context.Context()))
    return found.get_span_context() if found.get_span_context().is_valid else None


def _known(attributes: Attributes) -> dict[str, Any]:
    return {name: value for name, value in attributes.items() if value is not None}


def _nanoseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1e6) * 1000
