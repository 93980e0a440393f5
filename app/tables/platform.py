"""Tables of projects, keys and workers."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, true
from sqlalchemy.orm import Mapped, mapped_column

from app.tables.base import Base, Deletable, JsonObject, created


class Project(Deletable, Base):
    """A team's own world: its keys see its objects and nothing else.

    Of a deleted one the row stays where its usage does, without its name.
    """

    __tablename__ = "projects"
    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    served_at: Mapped[datetime | None]  # when a worker last claimed a step of it: fair dispatch reads this
    sharing: Mapped[bool] = mapped_column(default=True, server_default=true())  # links to reports may be made
    created_at: Mapped[datetime] = created()


class ApiKey(Base):
    """The secret is shown once; only its SHA-256 is kept (it is random, so a fast hash is right)."""

    __tablename__ = "api_keys"
    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey(Project.id), index=True)
    name: Mapped[str]
    secret_sha256: Mapped[str] = mapped_column(unique=True)
    scopes: Mapped[list[Any]]  # of read, submit, admin, operator
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    replaces: Mapped[str | None]  # the key that was rotated
    person: Mapped[str | None]  # whose it is: the identity provider's subject; None: of no person
    created_at: Mapped[datetime] = created()


class Worker(Base):
    """A worker that is there, and what it has. One row per pool child, so a restart makes a new one."""

    __tablename__ = "workers"
    id: Mapped[str] = mapped_column(primary_key=True)
    seen_at: Mapped[datetime]
    gpus: Mapped[int] = mapped_column(default=1, server_default="1")
    gpu_memory_gib: Mapped[float | None]  # of each GPU
    gpu_class: Mapped[str | None]
    sandbox: Mapped[str | None]  # ok: it has passed its probe; else why it runs no programs; None: not probed
    sick: Mapped[str | None]  # why it claims nothing until an operator releases it; None: it is well
    sick_since: Mapped[datetime | None]
    measured: Mapped[JsonObject | None]  # of its GPUs and its GPU process, with its last note


class Server(Base):
    """A process that answers people who talk to a model; the API passes their requests on to it."""

    __tablename__ = "servers"
    id: Mapped[str] = mapped_column(primary_key=True)
    url: Mapped[str]
    token: Mapped[str]  # what the API shows it: only who can read the ledger may ask
    models: Mapped[list[Any] | None]  # ids of the base models that it serves; None: all that are offered
    loaded: Mapped[str | None]  # the one that it holds now
    sandbox: Mapped[str | None]  # as of a worker: ok, or why its texts call no CPython
    seen_at: Mapped[datetime]


class Counter(Base):
    """How often something happened that leaves no other trace, such as a refused effect."""

    __tablename__ = "counters"
    name: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[int] = mapped_column(BigInteger)
