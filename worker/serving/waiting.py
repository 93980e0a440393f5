"""Whose texts are written next, whoever writes them: projects in turn, within a bounded queue."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count

from star_engine.writing import Piece, WriteRequest

TURN_SECONDS = 5.0  # texts that cannot share a batch with those that run wait no longer for their turn
UNREADY = "The model could not be loaded here: the operator's log says why."
BROKEN = "The model's process ended while it wrote this. Send it again."


@dataclass(frozen=True, slots=True)
class Target:
    """Who is to write: a base model, or it with an adapter."""

    model_id: str
    adapter_id: str | None


@dataclass(slots=True, eq=False)
class Ticket:
    """The texts of one request. `say` is called with each piece, from the thread that writes."""

    target: Target
    project_id: str
    requests: tuple[WriteRequest, ...]
    say: Callable[[Piece], None]
    came: float = field(default_factory=time.monotonic)
    open: set[str] = field(default_factory=set)  # keys of texts that have not ended

    def __post_init__(self) -> None:
        self.open = {request.key for request in self.requests}


class Full(RuntimeError):
    """More texts wait than the queue may hold."""


class Waiting:
    """Texts that wait or are written. For several threads; `changed` is notified when something may begin."""

    def __init__(self, limit: int) -> None:
        self.changed = threading.Condition()
        self._limit = limit
        self._waiting: list[Ticket] = []
        self._running: dict[str, Ticket] = {}  # by key of a text
        self._served: dict[str, int] = {}  # project: the turn in which texts of it were last begun
        self._turns = count(1)

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def add(self, ticket: Ticket) -> None:
        """Raises Full where there is no room for its texts, or for more of its project."""
        with self.changed:
            held = self._held()
            if sum(held.values()) + len(ticket.requests) > self._limit:
                raise Full("More texts wait than this server takes.")
            if held[ticket.project_id] + len(ticket.requests) > max(self._limit // 2, 1):
                raise Full("This project has half of the queue already.")
            self._waiting.append(ticket)
            self.changed.notify()

    def drop(self, ticket: Ticket) -> set[str]:
        """Nobody waits for it any more. The keys of its texts that are being written."""
        with self.changed:
            if ticket in self._waiting:
                self._waiting.remove(ticket)
            dropped = {key for key in ticket.open if key in self._running}
            for key in ticket.open:
                self._running.pop(key, None)
            return dropped

    def next_target(self) -> Target | None:
        """That of the project that was served longest ago; None: nothing waits."""
        with self.changed:
            return min(self._waiting, key=self._turn).target if self._waiting else None

    def begin(self, alike: Callable[[Target], bool], room: int) -> Iterator[Ticket]:
        """Texts that may join the batch, unless it is the turn of others that may not."""
        while (ticket := self._begin(alike, room)) is not None:
            yield ticket

    def ticket_of(self, piece: Piece) -> Ticket | None:
        """Whose text a piece is of; None: nobody's any more."""
        with self.changed:
            ticket = self._running.get(piece.key)
            if ticket is not None and piece.ends:
                ticket.open.discard(piece.key)
                del self._running[piece.key]
            return ticket

    def fail(self, why: str, which: Callable[[Target], bool] | None = None) -> None:
        """End what runs and what waits for such a target; for any, where none is named."""
        with self.changed:
            ended = [ticket for ticket in self._waiting if which is None or which(ticket.target)]
            self._waiting = [ticket for ticket in self._waiting if ticket not in ended]
            ended += dict.fromkeys(self._running.values())
            self._running.clear()
        for ticket in ended:
            for key in sorted(ticket.open):
                ticket.say(Piece(key, error=why))

    def _held(self) -> Counter[str]:
        held = Counter(ticket.project_id for ticket in self._running.values())
        for ticket in self._waiting:
            held[ticket.project_id] += len(ticket.requests)
        return held

    def _turn(self, ticket: Ticket) -> tuple[int, float]:
        return self._served.get(ticket.project_id, 0), ticket.came

    def _begin(self, alike: Callable[[Target], bool], room: int) -> Ticket | None:
        with self.changed:
            now = time.monotonic()
            others = [one for one in self._waiting if not alike(one.target)]
            if self._running and any(now - one.came > TURN_SECONDS for one in others):
                return None
            mine = [one for one in self._waiting if alike(one.target)]
            if not mine:
                return None
            ticket = min(mine, key=self._turn)
            if self._running and len(self._running) + len(ticket.requests) > room:
                return None
            self._waiting.remove(ticket)
            self._served[ticket.project_id] = next(self._turns)
            self._running |= {request.key: ticket for request in ticket.requests}
            return ticket
