"""Switches tracing on in a process, and off again, as STAR_TRACES says."""

from __future__ import annotations

from collections.abc import Callable

from app.settings import Settings


class TracingUnavailable(RuntimeError):
    """Traces are wanted, and the packages that record them are not installed."""


def start_tracing(settings: Settings, role: str) -> Callable[[], None]:
    """Returns what ends it: it sends what was recorded. Raises TracingUnavailable.

    In a process that forks, the child calls it: the thread that sends does not cross a fork.
    """
    if settings.traces == "off":
        return lambda: None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        from app.tracing.recording import record_with
    except ImportError as missing:
        raise TracingUnavailable(
            f"STAR_TRACES=otlp needs packages that are not installed ({missing.name}): "
            "pip install 'star-service[otel]'."
        ) from missing
    return record_with(role, OTLPSpanExporter()).shutdown
