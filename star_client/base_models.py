"""Base models of the deployment, as operators ask for them of a worker that may fetch."""

from __future__ import annotations

from typing import Any, Literal

from star_client.objects import Json, Page, Resource, Timestamp
from star_client.transport import Request, Transport, once

PATH = "/v1/base-models"


class BaseModelTask(Resource):
    """What was asked, and what came of it. `queued` waits for a worker that may fetch (STAR_MODELS_FETCH)."""

    kind: Literal["add", "check"]
    status: str
    asked: Json
    progress: str | None = None
    error: str | None = None
    result: Json | None = None
    worker: str | None = None
    created_by: Json | None = None
    created_at: Timestamp
    started_at: Timestamp | None = None
    ended_at: Timestamp | None = None


class BaseModels:
    """For operators; `star models add` and `star models check` do the same on the operator's own machine."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def add(
        self,
        model: str,
        *,
        id: str | None = None,  # noqa: A002 - as the API calls it
        license: str | None = None,  # noqa: A002 - likewise
        context_length: int | None = None,
        idempotency_key: str | None = None,
    ) -> BaseModelTask:
        """`model`: ORG/NAME[@REVISION] of the hub, or a folder of the worker."""
        body = {"model": model, "id": id, "license": license, "context_length": context_length}
        return self._ask(PATH, body, idempotency_key)

    def check(
        self,
        model: str,
        *,
        dataset: str,
        prompt_set: str,
        rows: int = 20,
        max_tokens: int = 256,
        idempotency_key: str | None = None,
    ) -> BaseModelTask:
        """Whether it is better than guessing at questions of the dataset's train split."""
        body = {"model": model, "dataset": dataset, "prompt_set": prompt_set}
        return self._ask(f"{PATH}/check", {**body, "rows": rows, "max_tokens": max_tokens}, idempotency_key)

    def tasks(self, *, limit: int = 20, after: str | None = None) -> Page[BaseModelTask]:
        """Newest first."""
        request = Request("GET", f"{PATH}/tasks", {"limit": limit, "after": after})
        return Page[BaseModelTask].model_validate_json(self._transport.send(request).content)

    def _ask(self, path: str, body: dict[str, Any], key: str | None) -> BaseModelTask:
        return BaseModelTask.model_validate_json(self._transport.send(once(path, body, key)).content)
