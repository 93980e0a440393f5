"""Projects of the deployment, for operators."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query, Response

from app.http.auth import Operator
from app.http.dependencies import Db
from app.http.idempotency import MadeOnce, made_once
from app.http.router import api_router
from app.http.schemas import HAS_DEPENDENTS, After, Limit, Page, already
from app.platform.projects import (
    ProjectIn,
    ProjectOut,
    create_project,
    delete_project,
    read_project,
    read_projects,
)

router = api_router("projects", "/v1/projects")


@router.post("", status_code=201, responses=already(ProjectOut), summary="Create a project")
def create(caller: Operator, db: Db, once: MadeOnce, sent: ProjectIn, response: Response) -> ProjectOut:
    """Names are unique: an existing project of this name is returned with 200."""

    def make() -> ProjectOut:
        made, new = create_project(db, sent, once)
        response.status_code = 201 if new else 200
        return made

    answer = made_once(db, once, response, make, lambda one: read_project(db, one))
    response.headers["Location"] = f"/v1/projects/{answer.id}"
    return answer


@router.get("", summary="List projects, newest first")
def list_(caller: Operator, db: Db, limit: Limit = 20, after: After = None) -> Page[ProjectOut]:
    return read_projects(db, limit=limit, after=after)


@router.get("/{project_id}", summary="Get a project")
def get(caller: Operator, db: Db, project_id: str) -> ProjectOut:
    return read_project(db, project_id)


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
    delete_project(db, caller, project_id, contents=contents)
