"""Projects: each a team's own world. Made, listed and named by operators only."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.errors import NotFound
from app.ledger.platform.keys import Caller, Scope
from app.tables.base import WITH_DELETED
from app.tables.platform import Project


def list_projects(session: Session, *, after: str | None, limit: int) -> Sequence[Project]:
    """Newest first; `after` is the id of the last one seen."""
    query = select(Project).order_by(Project.id.desc()).limit(limit)
    if after is not None:
        query = query.where(Project.id < after)
    return session.scalars(query).all()


def get_project(session: Session, project_id: str, *, with_deleted: bool = False) -> Project:
    options = WITH_DELETED if with_deleted else {}
    project = session.get(Project, project_id, execution_options=options)
    if project is None:
        raise NotFound(f"There is no project {project_id}.")
    return project


def project_named(session: Session, name: str) -> Project | None:
    return session.scalars(select(Project).where(Project.name == name)).one_or_none()


def meant_project(
    session: Session, caller: Caller, project_id: str | None, *, with_deleted: bool = False
) -> str:
    """The project that a request is about: the caller's own unless an operator names another.

    with_deleted: it may be one whose usage and audit log are all that is left of it.
    """
    if project_id is None or project_id == caller.project_id:
        return caller.project_id
    if not caller.may(Scope.OPERATOR):
        raise NotFound(f"There is no project {project_id}.")
    return get_project(session, project_id, with_deleted=with_deleted).id
