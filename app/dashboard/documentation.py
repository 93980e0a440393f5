"""/docs/guide/: the documentation as `make docs` has built it, where it has been built."""

from __future__ import annotations

import re
from base64 import b64encode
from functools import lru_cache
from hashlib import sha256
from pathlib import Path

from fastapi import FastAPI
from starlette.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from app.dashboard.middleware import HEADERS

GUIDE = "/docs/guide"
FOLDER = Path(__file__).parents[1] / "documentation"
# What stands between the tags, of scripts that run: the theme's settings are JSON in a tag of their own.
INLINE = re.compile(rb"<script>(.*?)</script>", re.DOTALL)


def add_guide(api: FastAPI) -> None:
    """Serve the site under GUIDE. Nothing is added where it has not been built."""
    if FOLDER.is_dir():
        api.mount(GUIDE, Guide(directory=FOLDER, html=True))


class Guide(StaticFiles):
    """Pages that load nothing from elsewhere, and run no script but the server's files and their own."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        page = str(response.path) if isinstance(response, FileResponse) else ""
        hashes = _inline_scripts(page) if page.endswith(".html") else ()
        response.headers.update(HEADERS | {"Content-Security-Policy": _policy(hashes)})
        response.headers["Cache-Control"] = "no-cache"
        return response


@lru_cache(maxsize=1024)
def _inline_scripts(page: str) -> tuple[str, ...]:
    """SHA-256 of the scripts inside a page, as a Content-Security-Policy names them."""
    found = INLINE.findall(Path(page).read_bytes())
    return tuple(f"'sha256-{b64encode(sha256(script).digest()).decode()}'" for script in dict.fromkeys(found))


def _policy(hashes: tuple[str, ...]) -> str:
    return "; ".join(
        (
            "default-src 'none'",
            " ".join(("script-src 'self'", *hashes)),
            "worker-src 'self'",  # the search
            "style-src 'self' 'unsafe-inline'",  # tables and notebooks carry styles
            "img-src 'self' data:",
            "connect-src 'self'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
        )
    )
