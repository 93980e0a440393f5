"""Makes one object of requests with the same Idempotency-Key: a second one waits briefly for the first."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from threading import Condition
from time import monotonic, sleep
from typing import Annotated, BinaryIO, TypeVar

from fastapi import Depends, Header, Request, Response
from sqlalchemy import Engine, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.database import reading, transaction
from app.errors import Conflict, NotFound
from app.http.auth import current_caller
from app.ledger.platform.idempotency import known_key, remember_made
from app.ledger.platform.keys import Caller

Answer = TypeVar("Answer")

WAIT_SECONDS = 3.0  # what making a job takes, mostly; checks of a large dataset take longer
CHUNK = 1 << 20  # bytes of an upload that are hashed at once
LOOK_SECONDS = 0.05  # between two looks at the lock of another process

IdempotencyKey = Annotated[
    str | None,
    Header(
        max_length=255, description="Repeating a request with the same key and body creates nothing more."
    ),
]

_here: set[tuple[str, str]] = set()
_changed = Condition()


@dataclass(frozen=True, slots=True)
class Once:
    """The Idempotency-Key of a request, and the hash by which another request under the same key is known.

    Nothing that a request or an answer holds is kept but this hash, and the id of what was made: an answer
    is made again from the object, so a secret that was shown once is nowhere stored.
    """

    project_id: str = ""
    key: str | None = None  # None: the request may make another object each time it comes
    fingerprint: str = ""

    def remember(self, session: Session, object_id: str) -> None:
        """Tie the key to the object, in the transaction that makes it."""
        if self.key is not None:
            remember_made(session, self.project_id, self.key, self.fingerprint, object_id)

    def remember_existing(self, db: Engine, object_id: str) -> None:
        """The same for what its content or its name makes one object, whoever asks how often."""
        with transaction(db) as session:
            self.remember(session, object_id)

    def made(self, db: Engine) -> str | None:
        """The id of what an earlier request made. Raises Invalid where the key stands for another request."""
        if self.key is None:
            return None
        with reading(db) as session:
            known = known_key(session, self.project_id, self.key, self.fingerprint)
            return None if known is None else known.object_id

    def of_file(self, file: BinaryIO) -> Once:
        """The same, for a request whose body is this file."""
        if self.key is None:
            return self
        digest = sha256()
        file.seek(0)
        while chunk := file.read(CHUNK):
            digest.update(chunk)
        file.seek(0)
        return replace(self, fingerprint=_hashed(self.fingerprint, digest.hexdigest()))


UNKEYED = Once()


async def _upload_once(
    request: Request,
    caller: Annotated[Caller, Depends(current_caller)],
    idempotency_key: IdempotencyKey = None,
) -> Once:
    said = f"{request.method} {request.url.path}?{request.url.query}"
    return Once(caller.project_id, idempotency_key, _hashed(said))


async def _once(request: Request, upload: Annotated[Once, Depends(_upload_once)]) -> Once:
    if upload.key is None:
        return upload
    body = sha256(await request.body()).hexdigest()
    return replace(upload, fingerprint=_hashed(upload.fingerprint, body))


MadeOnce = Annotated[Once, Depends(_once)]
UploadedOnce = Annotated[Once, Depends(_upload_once)]  # its body is a file: `of_file` completes it


def made_once(
    db: Engine, once: Once, response: Response, make: Callable[[], Answer], show: Callable[[str], Answer]
) -> Answer:
    """The answer of `make`, or of `show` where an earlier request with this key has made the object.

    `make` calls `once.remember`. Raises Invalid where the key stands for another request, and Conflict where
    the object was deleted since or another request has been at it for long.
    """
    if once.key is None:
        return make()
    if (known := once.made(db)) is None:  # replays do not wait for each other
        with only_one(db, once.project_id, once.key):
            if (known := once.made(db)) is None:
                try:
                    return make()
                except IntegrityError:  # another process was first
                    if (known := once.made(db)) is None:
                        raise
    return replayed(known, response, show)


def replayed(object_id: str, response: Response, show: Callable[[str], Answer]) -> Answer:
    """The answer that shows what an earlier request with the same key has made."""
    response.headers["Idempotent-Replayed"] = "true"
    try:
        return show(object_id)
    except NotFound:
        raise Conflict(
            f"This Idempotency-Key has made {object_id}, which was deleted. Use a new key for a new object.",
            code="made_and_deleted",
        ) from None


def _hashed(*parts: str) -> str:
    return sha256("\n".join(parts).encode()).hexdigest()


@contextmanager
def only_one(engine: Engine, project_id: str, key: str | None) -> Iterator[None]:
    """Waits while another request of the project with this key is answered. Raises Conflict after a while.

    What makes a job once is the unique key in its own transaction; this only spares the work of checking it
    twice, so it may forget: after a crash there is nothing to clean up. On PostgreSQL it holds between
    processes too, by an advisory lock of a session, outside any transaction: checks can take a minute.
    """
    if key is None:
        yield
        return
    name = (project_id, key)
    ends = monotonic() + WAIT_SECONDS
    with _changed:
        if not _changed.wait_for(lambda: name not in _here, WAIT_SECONDS):
            raise _in_flight()
        _here.add(name)
    try:
        if engine.dialect.name != "postgresql":
            yield
            return
        with _advisory_lock(engine, "\x00".join(name), ends):
            yield
    finally:
        with _changed:
            _here.discard(name)
            _changed.notify_all()


@contextmanager
def _advisory_lock(engine: Engine, name: str, ends: float) -> Iterator[None]:
    number = {"number": int.from_bytes(sha256(name.encode()).digest()[:8], "big", signed=True)}
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        while not connection.scalar(text("SELECT pg_try_advisory_lock(:number)"), number):
            if monotonic() > ends:
                raise _in_flight()
            sleep(LOOK_SECONDS)
        try:
            yield
        finally:
            connection.execute(text("SELECT pg_advisory_unlock(:number)"), number)


def _in_flight() -> Conflict:
    return Conflict(
        "A request with this Idempotency-Key is being answered right now. Send it again in a second.",
        code="idempotency_in_flight",
    )
