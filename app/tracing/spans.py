"""Spans around what takes time: a request, a job, a step, a call to the GPU process, a file in the storage.

Off unless STAR_TRACES says otherwise. Then nothing of OpenTelemetry is imported, and a span is one comparison
and a shared object that does nothing. Attributes are ids, sizes, settings and outcomes: never a text of a
dataset or a model, a key, a URL's query or an error's message.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

Value = str | int | float | bool
Attributes = Mapping[str, Value | None]  # what is None is left out
NONE: Attributes = {}


class SpanKind(StrEnum):
    """Whom a span is about, as OpenTelemetry has it."""

    INTERNAL = "internal"
    SERVER = "server"  # answers a request
    CLIENT = "client"  # asks another process
    CONSUMER = "consumer"  # works on what another process has left for it


class Span:
    """One that records nothing: what all are while tracing is off."""

    def note(self, attributes: Attributes) -> None:
        """Add attributes, or change them."""

    def rename(self, name: str) -> None:
        """Change its name, where that is known only later."""

    def fail(self, error_type: str) -> None:
        """Mark what it is about as failed."""

    def end(self) -> None:
        """End it; again, and nothing happens."""


class Recorder(Protocol):
    """What records spans: app/tracing/recording.py."""

    def begin(
        self,
        name: str,
        attributes: Attributes,
        kind: SpanKind,
        parent: str | None,
        link: str | None,
        began: int,
    ) -> Span: ...

    def make_current(self, span: Span) -> object: ...

    def make_former_current(self, token: object) -> None: ...

    def traceparent(self) -> str | None: ...

    def new_root(self) -> tuple[str, str | None]: ...

    def record_whole(self, whole: Whole) -> None: ...


@dataclass(frozen=True, slots=True)
class Whole:
    """A span that is known only once it is over: its process may not be the one in which it began."""

    name: str
    traceparent: str  # its own id, which its children were given
    parent: str | None
    attributes: Attributes
    began: datetime
    ended: datetime
    error_type: str | None  # None: it has not failed


_NO_SPAN = Span()
_NOTHING = nullcontext(_NO_SPAN)
_recorder: Recorder | None = None


def use_recorder(recorder: Recorder | None) -> None:
    """Record spans in this process from now on; None: no longer."""
    global _recorder  # noqa: PLW0603 - a process has one, as it has one log
    _recorder = recorder


def is_on() -> bool:
    return _recorder is not None


def begin(
    name: str,
    attributes: Attributes = NONE,
    kind: SpanKind = SpanKind.INTERNAL,
    *,
    parent: str | None = None,
    link: str | None = None,
    began: int = 0,
) -> Span:
    """A span that its caller ends. `parent`: a traceparent; None: the current span. `link`: a traceparent of
    what caused it. `began`: nanoseconds since 1970; 0: now.
    """
    if _recorder is None:
        return _NO_SPAN
    return _recorder.begin(name, attributes, kind, parent, link, began)


def current(span: Span) -> AbstractContextManager[Span]:
    """Make it the parent of what begins inside. It does not end with that."""
    return _NOTHING if _recorder is None else _current(_recorder, span)


def span(
    name: str,
    attributes: Attributes = NONE,
    kind: SpanKind = SpanKind.INTERNAL,
    *,
    parent: str | None = None,
    link: str | None = None,
) -> AbstractContextManager[Span]:
    """The span of what happens inside, which fails with it."""
    if _recorder is None:
        return _NOTHING
    return _around(_recorder, _recorder.begin(name, attributes, kind, parent, link, 0))


@contextmanager
def _current(recorder: Recorder, span: Span) -> Iterator[Span]:
    token = recorder.make_current(span)
    try:
        yield span
    finally:
        recorder.make_former_current(token)


@contextmanager
def _around(recorder: Recorder, begun: Span) -> Iterator[Span]:
    try:
        with _current(recorder, begun):
            yield begun
    except BaseException as problem:
        begun.fail(type(problem).__name__)
        raise
    finally:
        begun.end()


def traceparent() -> str | None:
    """The current span as the W3C's header of this name; None where there is none."""
    return None if _recorder is None else _recorder.traceparent()


def new_root() -> tuple[str, str | None] | None:
    """The traceparent of a span below the current one, recorded once it is over; and the current one's."""
    return None if _recorder is None else _recorder.new_root()


def record_whole(whole: Whole) -> None:
    """Record a span that is over."""
    if _recorder is not None:
        _recorder.record_whole(whole)
