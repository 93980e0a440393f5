"""Projects of the deployment, for operators."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import Query, Response
from sqlalchemy import Engine
from sqlalchemy.exc import IntegrityError

from app.database import reading, transaction
from app.errors import Conflict
from app.http.auth import Operator
from app.http.dependencies import Db
from app.http.router import api_router
from app.http.schemas import HAS_DEPENDENTS, After, In, Limit, Name, Page, Resource, already, page
from app.ledger.deletion.mark import delete_project
from app.ledger.platform.keys import create_project
from app.ledger.platform.projects import get_project, list_projects, project_named
from app.tables.platform import Project

router = api_router("projects", "/v1/projects")


class ProjectIn(In):
    name: Name


class ProjectOut(Resource):
    object: Literal["project"] = "project"
    name: str


@router.post("", status_code=201, responses=already(ProjectOut), summary="Create a project")
def create(caller: Operator, db: Db, sent: ProjectIn, response: Response) -> ProjectOut:
    """Names are unique: an existing project of this name is returned with 200."""
    try:
        project, new = _make(db, sent.name)
    except IntegrityError:  # the same request came in beside this one
        project, new = _make(db, sent.name)
    response.status_code = 201 if new else 200
    response.headers["Location"] = f"/v1/projects/{project.id}"
    return _out(project)


@router.get("", summary="List projects, newest first")
def list_(caller: Operator, db: Db, limit: Limit = 20, after: After = None) -> Page[ProjectOut]:
    with reading(db) as session:
        found = list_projects(session, after=after, limit=limit + 1)
    return page([_out(project) for project in found], limit)


@router.get("/{project_id}", summary="Get a project")
def get(caller: Operator, db: Db, project_id: str) -> ProjectOut:
    with reading(db) as session:
        return _out(get_project(session, project_id))


@router.delete("/{project_id}", status_code=204, responses=HAS_DEPENDENTS, summary="Delete a project")
def delete(
    caller: Operator,
    db: Db,
    project_id: str,
    contents: Annotated[bool, Query(description="With all that it holds.")] = False,
) -> None:
    """Its keys end at once. Its usage and its audit log stay.

    Not while a job of it is active, nor, without `contents`, while it holds anything: the answer (409) names
    that in `dependents`.
    """
    if project_id == caller.project_id:
        raise Conflict("This key belongs to that project. Use another project's key.", code="own_project")
    with transaction(db) as session:
        delete_project(session, project_id, contents=contents)


def _make(db: Engine, name: str) -> tuple[Project, bool]:
    with transaction(db) as session:
        known = project_named(session, name)
        return known or create_project(session, name), known is None


def _out(project: Project) -> ProjectOut:
    return ProjectOut(id=project.id, created_at=project.created_at, name=project.name)
