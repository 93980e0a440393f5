"""What a team shares: webhooks, projects, keys, quotas, usage and the audit log."""

from __future__ import annotations

from star_client.objects import Fields, Json, Resource, Timestamp


class Webhook(Resource):
    """`secret` only where it was just made: in the answer to create and to rotate_secret."""

    url: str
    events: tuple[str, ...]
    description: str = ""
    enabled: bool
    job: str | None = None
    secret: str | None = None
    old_secret_until: Timestamp | None = None
    quiet_until: Timestamp | None = None
    created_at: Timestamp


class Delivery(Resource):
    """One event for one webhook; `log` has an entry for each attempt."""

    webhook: str
    event: str | None = None
    event_type: str
    job: str | None = None
    status: str
    attempts: int
    response_code: int | None = None
    error: str | None = None
    log: tuple[Json, ...] = ()
    next_try_at: Timestamp | None = None
    finished_at: Timestamp | None = None
    created_at: Timestamp


class Project(Resource):
    name: str
    created_at: Timestamp


class ApiKey(Resource):
    """`key` only where it was just made: in the answer to create and to rotate. The server keeps a hash."""

    name: str
    project: str
    scopes: tuple[str, ...]
    expires_at: Timestamp | None = None
    revoked_at: Timestamp | None = None
    replaces: str | None = None
    key: str | None = None
    created_at: Timestamp


class Standing(Fields):
    """`held`: what running jobs may still use up. `limit` None: without a limit."""

    limit: float | None = None
    used: float
    held: float = 0


class Quota(Fields):
    project: str
    running_jobs: Standing
    queued_jobs: Standing
    gpu_hours: Standing
    dataset_bytes: Standing
    adapter_bytes: Standing


class DataRetention(Fields):
    """Days after the end of a job, or the upload of a file. None: for good."""

    project: str
    text_days: int | None = None
    event_days: int | None = None
    file_days: int | None = None


class Usage(Fields):
    """What one job's phase used on one day (UTC). sandbox_seconds: CPU, of the programs that it ran."""

    id: str
    project: str
    job: str
    phase: str
    day: str
    claims: int
    gpu_seconds: float
    executions: int = 0
    sandbox_seconds: float = 0.0


class TextUsage(Fields):
    """What one model wrote for people on one day (UTC), outside of jobs."""

    id: str
    project: str
    model: str
    base_model: str
    day: str
    texts: int
    prompt_tokens: int
    completion_tokens: int
    executions: int = 0  # programs that these texts called
    sandbox_seconds: float = 0.0  # CPU seconds of them


class AuditEntry(Resource):
    """One object changed by one request. `fields` names what changed, never its content.

    `reason`: what the request gave, as to force a promotion.
    """

    project: str
    key: str
    action: str
    change: str
    target: str
    target_type: str
    fields: tuple[str, ...] = ()
    reason: str | None = None
    request_id: str
    created_at: Timestamp


class Worker(Resource):
    """`busy`: it holds a step, of whichever project. `sick`: why it claims nothing until it is released."""

    seen_at: Timestamp
    gpus: int
    gpu_memory_gib: float | None = None
    gpu_class: str | None = None
    sandbox: str | None = None  # ok: it takes jobs that execute programs; else why not
    busy: bool
    sick: str | None = None
    sick_since: Timestamp | None = None
    measured: Json | None = None  # {gpus: [{utilization, ...}], tokens_per_second, prefix_cache_hits}


class BaseModelTask(Resource):
    """What was asked, and what came of it. `queued` waits for a worker that may fetch (STAR_MODELS_FETCH)."""

    kind: str  # add or check
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
