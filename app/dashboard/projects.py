"""Projects of the deployment, for operators."""

from __future__ import annotations

from typing import Annotated

from fastapi import Form, Request, Response
from fastapi.responses import RedirectResponse

from app.dashboard.rendering import page, url
from app.dashboard.session import Operator
from app.errors import BadRequest
from app.http.dependencies import Db
from app.http.router import page_router
from app.http.schemas import After
from app.platform.projects import (
    ProjectIn,
    create_project,
    delete_project,
    read_project,
    read_projects,
)

router = page_router("/platform/projects")
ROWS = 50


@router.get("")
def list_(request: Request, caller: Operator, db: Db, after: After = None) -> Response:
    return page(request, "projects.html", caller, found=read_projects(db, limit=ROWS, after=after))


@router.post("")
def create(caller: Operator, db: Db, name: Annotated[str, Form(min_length=1, max_length=200)]) -> Response:
    create_project(db, ProjectIn(name=name))
    return RedirectResponse(url("platform", "projects"), status_code=303)


@router.post("/{project_id}/delete")
def delete(
    caller: Operator,
    db: Db,
    project_id: str,
    name: Annotated[str, Form(max_length=200)],
    contents: Annotated[bool, Form()] = False,
) -> Response:
    """Only with the project's name typed out: it cannot be undone."""
    project = read_project(db, project_id)
    if name != project.name:
        raise BadRequest(f"Type the name of the project, {project.name}, to delete it.")
    delete_project(db, caller, project_id, contents=contents)
    return RedirectResponse(url("platform", "projects"), status_code=303)
