"""Processes that answer people who talk to a model: each says every few seconds that it is there."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from app.database import clock
from app.tables.platform import Server

ANNOUNCE_SECONDS = 10.0
LIVE_SECONDS = 35.0  # one that missed three announcements is not asked


def announce_server(
    session: Session,
    server_id: str,
    url: str,
    token: str,
    models: Sequence[str] | None,
    loaded: str | None,
    sandbox: str | None = None,
) -> None:
    """Note that this server is there, what it may be asked and what it holds. sandbox: SANDBOX_OK, or why it
    executes no code.
    """
    served = None if models is None else list(models)
    facts = {"url": url, "token": token, "models": served, "loaded": loaded, "sandbox": sandbox}
    known = update(Server).where(Server.id == server_id).values(seen_at=clock(), **facts)
    if session.execute(known.returning(Server.id)).first() is None:
        session.execute(delete(Server).where(Server.seen_at < clock(-LIVE_SECONDS)))
        session.add(Server(id=server_id, seen_at=clock(), **facts))
        session.flush()


def forget_server(session: Session, server_id: str) -> None:
    session.execute(delete(Server).where(Server.id == server_id))


def live_servers(session: Session, model_id: str) -> list[Server]:
    """Those that serve a base model; first the ones that hold it, then the ones that hold none."""
    found = session.scalars(select(Server).where(Server.seen_at > clock(-LIVE_SECONDS)))
    able = [server for server in found if server.models is None or model_id in server.models]
    return sorted(able, key=lambda one: (one.loaded != model_id, one.loaded is not None, one.id))
