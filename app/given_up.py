"""Work for a client that has gone is stopped: at the next statement that only reads, row or wait.

Threads cannot be stopped from outside, so what takes long asks. What changes the database does not: a request
that was sent completely may be answered to nobody, but it is not done by half.
"""

from __future__ import annotations

from contextvars import ContextVar
from threading import Event

# Set by app.http.given_up for each request (and taken back by app.http.admission before the next one on its
# connection), and copied into the threads that work for it.
client_gone: ContextVar[Event | None] = ContextVar("client_gone", default=None)


class ClientGone(Exception):
    """Nobody waits for the answer any more."""


def stop_if_given_up() -> None:
    """Raises ClientGone once the client of the current request has closed its connection."""
    gone = client_gone.get()
    if gone is not None and gone.is_set():
        raise ClientGone
