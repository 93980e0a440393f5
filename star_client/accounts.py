"""Projects and their keys, what they may use and have used, and who changed what."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, datetime
from typing import Any
from urllib.parse import quote

from star_client.errors import SecretLost
from star_client.objects import Page, rfc3339
from star_client.objects_platform import (
    ApiKey,
    AuditEntry,
    BaseModelTask,
    DataRetention,
    Project,
    Quota,
    TextUsage,
    Usage,
    Worker,
)
from star_client.resources import LARGEST_PAGE, every
from star_client.transport import Request, Transport, matching, once

_BASE_MODELS = "/v1/base-models"


class Projects:
    """Projects, for operators."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def create(self, name: str) -> Project:
        """The project of this name; made if there is none."""
        request = Request("POST", "/v1/projects", json={"name": name}, again=True)
        return Project.model_validate_json(self._transport.send(request).content)

    def list(self, *, limit: int = 20, after: str | None = None) -> Page[Project]:
        request = Request("GET", "/v1/projects", {"limit": limit, "after": after})
        return Page[Project].model_validate_json(self._transport.send(request).content)

    def get(self, project_id: str) -> Project:
        answer = self._transport.send(Request("GET", f"/v1/projects/{project_id}"))
        return Project.model_validate_json(answer.content)

    def delete(self, project_id: str, *, contents: bool = False) -> None:
        """Delete it and end its keys. Its usage and its audit log stay.

        Raises Refused (409) while a job of it is active or, without `contents`, while it holds anything.
        """
        params = {"contents": "true"} if contents else {}
        self._transport.send(Request("DELETE", f"/v1/projects/{project_id}", params))

    def quota(self, project_id: str) -> Quota:
        return Quota.read_from(self._transport.send(Request("GET", f"/v1/projects/{project_id}/quota")))

    def set_quota(
        self,
        project_id: str,
        *,
        running_jobs: int | None = None,
        queued_jobs: int | None = None,
        gpu_hours: float | None = None,
        dataset_bytes: int | None = None,
        adapter_bytes: int | None = None,
        if_match: str | None = None,
    ) -> Quota:
        """Replace the whole quota: fields left out are unlimited. `if_match`: only the one with this `etag`,
        else Refused (412)."""
        body = {
            "running_jobs": running_jobs,
            "queued_jobs": queued_jobs,
            "gpu_hours": gpu_hours,
            "dataset_bytes": dataset_bytes,
            "adapter_bytes": adapter_bytes,
        }
        path, headers = f"/v1/projects/{project_id}/quota", matching(if_match)
        request = Request("PUT", path, headers=headers, json=body, again=True)
        return Quota.read_from(self._transport.send(request))


class ApiKeys:
    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def create(
        self,
        name: str,
        *,
        scopes: Sequence[str] = ("submit",),
        expires_in_seconds: int | None = None,
        project: str | None = None,
        idempotency_key: str | None = None,
    ) -> ApiKey:
        """Scopes: read, submit, admin. The answer, and only it, holds the key. `project`: operators only.

        Sent with an Idempotency-Key, so that a retry makes no second one. Raises SecretLost where the key was
        made and the answer did not arrive: the server keeps no secret.
        """
        given = {"expires_in_seconds": expires_in_seconds, "project": project}
        body: dict[str, Any] = {"name": name, "scopes": [*scopes]}
        body |= {field: value for field, value in given.items() if value is not None}
        return self._with_secret(once("/v1/api-keys", body, idempotency_key))

    def list(self, *, project: str | None = None, limit: int = 20, after: str | None = None) -> Page[ApiKey]:
        request = Request("GET", "/v1/api-keys", {"project": project, "limit": limit, "after": after})
        return Page[ApiKey].model_validate_json(self._transport.send(request).content)

    def get(self, key_id: str) -> ApiKey:
        return self._one(Request("GET", f"/v1/api-keys/{key_id}"))

    def rotate(
        self, key_id: str, *, grace_seconds: int | None = None, idempotency_key: str | None = None
    ) -> ApiKey:
        """A new key in the place of this one; both work until the grace is over. Sent as by `create`."""
        body = {} if grace_seconds is None else {"grace_seconds": grace_seconds}
        return self._with_secret(once(f"/v1/api-keys/{key_id}/rotate", body, idempotency_key))

    def revoke(self, key_id: str) -> ApiKey:
        return self._one(Request("POST", f"/v1/api-keys/{key_id}/revoke", again=True))

    def _with_secret(self, request: Request) -> ApiKey:
        made = self._one(request)
        if made.key is None:
            raise SecretLost(
                f"{made.id} was made, but the answer that showed its secret was lost, and it is not stored. "
                f"Revoke it (star keys revoke {made.id}) and create another."
            )
        return made

    def _one(self, request: Request) -> ApiKey:
        return ApiKey.model_validate_json(self._transport.send(request).content)


class DataRetentions:
    """For how long the project keeps texts, events and files."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def get(self, *, project: str | None = None) -> DataRetention:
        request = Request("GET", "/v1/data-retention", {"project": project})
        return DataRetention.read_from(self._transport.send(request))

    def set(
        self,
        *,
        text_days: int | None = None,
        event_days: int | None = None,
        file_days: int | None = None,
        project: str | None = None,
        if_match: str | None = None,
    ) -> DataRetention:
        """Replace the rule: what is left out is kept for good. What is too old by it goes within minutes, and
        cannot be restored. Needs the scope admin; `project`: operators only. `if_match`: only the rule with
        this `etag`, else Refused (412)."""
        body = {"text_days": text_days, "event_days": event_days, "file_days": file_days}
        params, headers = {"project": project}, matching(if_match)
        request = Request("PUT", "/v1/data-retention", params, headers, body, again=True)
        return DataRetention.read_from(self._transport.send(request))


class Usages:
    """Usage and quota of the project."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def quota(self) -> Quota:
        return Quota.model_validate_json(self._transport.send(Request("GET", "/v1/quota")).content)

    def every(
        self,
        *,
        job: str | None = None,
        phase: str | None = None,
        since: date | None = None,
        until: date | None = None,
        project: str | None = None,
    ) -> Iterator[Usage]:
        """GPU-seconds by day, job and phase, of claims that have ended. `since`, `until`: days, inclusive."""
        params = {
            "job": job,
            "phase": phase,
            "since": since and since.isoformat(),
            "until": until and until.isoformat(),
            "project": project,
            "limit": LARGEST_PAGE,
        }
        return every(self._transport, "/v1/usage", Usage, params)

    def texts(
        self, *, since: date | None = None, until: date | None = None, project: str | None = None
    ) -> Iterator[TextUsage]:
        """Tokens of completions by day and model. `since`, `until`: days, inclusive."""
        params = {
            "since": since and since.isoformat(),
            "until": until and until.isoformat(),
            "project": project,
            "limit": LARGEST_PAGE,
        }
        return every(self._transport, "/v1/usage/texts", TextUsage, params)


class AuditLog:
    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(
        self,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int = 20,
        after: str | None = None,
        **filters: str | None,
    ) -> Page[AuditEntry]:
        """Newest first. Filters: action, change, target, target_type, key, project."""
        times = {"since": since and rfc3339(since), "until": until and rfc3339(until)}
        request = Request("GET", "/v1/audit", {**filters, **times, "limit": limit, "after": after})
        return Page[AuditEntry].model_validate_json(self._transport.send(request).content)


class Workers:
    """The workers of all projects."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def every(self) -> Iterator[Worker]:
        return every(self._transport, "/v1/workers", Worker, {"limit": LARGEST_PAGE})

    def release(self, worker_id: str) -> Worker:
        """Let a worker in quarantine claim steps again, once it has passed its self-test; for operators."""
        request = Request("POST", f"/v1/workers/{quote(worker_id, safe='')}/release", again=True)
        return Worker.model_validate_json(self._transport.send(request).content)


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
        return self._ask(_BASE_MODELS, body, idempotency_key)

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
        body: dict[str, Any] = {"model": model, "dataset": dataset, "prompt_set": prompt_set}
        return self._ask(
            f"{_BASE_MODELS}/check", {**body, "rows": rows, "max_tokens": max_tokens}, idempotency_key
        )

    def tasks(self, *, limit: int = 20, after: str | None = None) -> Page[BaseModelTask]:
        """Newest first."""
        request = Request("GET", f"{_BASE_MODELS}/tasks", {"limit": limit, "after": after})
        return Page[BaseModelTask].model_validate_json(self._transport.send(request).content)

    def _ask(self, path: str, body: dict[str, Any], key: str | None) -> BaseModelTask:
        return BaseModelTask.model_validate_json(self._transport.send(once(path, body, key)).content)
