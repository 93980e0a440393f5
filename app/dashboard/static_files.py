"""Style sheets and scripts, under URLs that change with their content: browsers keep them for good."""

from __future__ import annotations

from functools import cache
from hashlib import sha256
from pathlib import Path

from starlette import staticfiles
from starlette.responses import Response
from starlette.types import Scope

from app.dashboard.session import PATH

FOLDER = Path(__file__).parent / "static"


class StaticFiles(staticfiles.StaticFiles):
    def __init__(self) -> None:
        super().__init__(directory=FOLDER)

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        if scope["query_string"]:  # `?v=…`, as static_url makes it
            response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        else:
            response.headers["Cache-Control"] = "no-cache"
        return response


@cache
def static_url(name: str) -> str:
    """/dashboard/static/app.css?v=0123456789ab"""
    return f"{PATH}/static/{name}?v={sha256((FOLDER / name).read_bytes()).hexdigest()[:12]}"
