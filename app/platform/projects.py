"""Projects as they are sent and shown, for operators."""

from __future__ import annotations

from typing import Literal

from sqlalchemy import Engine
from sqlalchemy.exc import IntegrityError

from app.database import reading, transaction
from app.errors import Conflict
from app.http.idempotency import UNKEYED, Once
from app.http.schemas import In, Name, Page, Resource, page
from app.ledger.deletion import mark
from app.ledger.platform import projects as ledger
from app.ledger.platform.keys import Caller
from app.ledger.platform.keys import create_project as record_project
from app.tables.platform import Project


class ProjectIn(In):
    name: Name


class ProjectOut(Resource):
    object: Literal["project"] = "project"
    name: str


def create_project(db: Engine, sent: ProjectIn, once: Once = UNKEYED) -> tuple[ProjectOut, bool]:
    """The project of this name, and whether it is new."""
    try:
        project, new = _make(db, sent.name)
    except IntegrityError:  # the same request came in beside this one
        project, new = _make(db, sent.name)
    once.remember_existing(db, project.id)
    return _out(project), new


def read_projects(db: Engine, *, limit: int, after: str | None = None) -> Page[ProjectOut]:
    """A page of the deployment's projects, newest first."""
    with reading(db) as session:
        found = ledger.list_projects(session, after=after, limit=limit + 1)
    return page([_out(project) for project in found], limit)


def read_project(db: Engine, project_id: str) -> ProjectOut:
    with reading(db) as session:
        return _out(ledger.get_project(session, project_id))


def delete_project(db: Engine, caller: Caller, project_id: str, *, contents: bool) -> None:
    """Its keys end at once; its usage and its audit log stay.

    Raises Conflict for the caller's own, while a job of it is active and, unless with its `contents`, while
    it holds anything.
    """
    if project_id == caller.project_id:
        raise Conflict("This key belongs to that project. Use another project's key.", code="own_project")
    with transaction(db) as session:
        mark.delete_project(session, project_id, contents=contents)


def _make(db: Engine, name: str) -> tuple[Project, bool]:
    with transaction(db) as session:
        known = ledger.project_named(session, name)
        return known or record_project(session, name), known is None


def _out(project: Project) -> ProjectOut:
    return ProjectOut(id=project.id, created_at=project.created_at, name=project.name)
