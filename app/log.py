"""Structured logs of every process: one JSON object per line, with no secret and no dataset text."""

from __future__ import annotations

import logging
import re
import sys
from typing import Any

import structlog

from app.tracing.spans import traceparent

_SECRETS = re.compile(r"star_\w{8}_\w{43}_\w{6}|hf_\w{20,}|(?i:bearer)\s+\S+|(?<=://)[^/\s:@]*:[^/\s@]+(?=@)")


def configure_logging() -> None:
    """JSON lines on standard error, looked up on each line, so that a redirected one is honoured."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            with_trace,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            without_secrets,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
        cache_logger_on_first_use=False,
    )


def with_trace(_logger: Any, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """The trace that the line belongs to, where a deployment has traces."""
    if (parent := traceparent()) is not None:
        event["trace_id"] = parent.split("-")[1]
    return event


def without_secrets(
    _logger: Any, _method: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """Keys, tokens and passwords in URLs, wherever in a line they stand. A net below careful callers."""
    return {
        name: _SECRETS.sub("[secret]", value) if isinstance(value, str) else value
        for name, value in event.items()
    }
