"""Everything a deployment sets, from STAR_* variables: no other file of app/ or worker/ reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

GPU_CLASS = r"^[A-Za-z0-9_-]{1,40}$"  # one word: a queue of the broker is named by it
GPU_CLASS_OR_NONE = r"^[A-Za-z0-9_-]{0,40}$"


class Settings(BaseSettings):
    """Defaults are the embedded mode: one machine, SQLite, a folder for artifacts."""

    model_config = SettingsConfigDict(env_prefix="STAR_", extra="ignore", frozen=True)

    home: Path = Path(".star")  # database, artifacts, logs and key of the embedded mode
    database_url: str = ""  # empty: SQLite under home
    broker_url: str = "redis://127.0.0.1:6379/0"
    storage_url: str = ""  # empty: a folder under home; else a path or s3://bucket/prefix
    # Above 0, downloads from s3:// are answered with a presigned link that lives so long: the bytes then
    # pass by the API.
    storage_link_seconds: float = Field(default=0, ge=0, le=604_800)
    # Where uploads may be fetched from, such as ["s3://bucket/teams/{project}"]: with the AWS_*
    # credentials, by any project; {project} stands for the caller's id.
    dataset_sources: list[Annotated[str, Field(pattern=r"^s3://[^/?#\\]+(/[^?#\\]*)?$")]] = []
    # The hub whose public datasets are fetched for uploads (hf:ORG/NAME/SPLIT), without a token; empty: none.
    hub_url: str = Field(
        default="https://huggingface.co", pattern=r"^(https?://[^\s/?#@\\]+(/[^\s?#\\]*)?)?$"
    )
    hub_max_bytes: int = Field(default=256 << 20, ge=1)  # of the files of one fetch
    hub_seconds: float = Field(default=120, gt=0)  # for one fetch
    models_file: Path = Path("models.yaml")  # the allow-list of base models
    # Whether this worker downloads base models and adds them to the allow-list where an operator asks for it
    # over HTTP; it must be able to write the file that the API reads.
    models_fetch: bool = False
    models_into: Path | None = None  # where it keeps what it downloads; None: models under home

    shard_examples: int = Field(default=128, ge=1)  # examples per sampling or evaluation step
    # Sampling may begin beside the evaluation before it, and steps may share a call of the sampler. Off while
    # workers of a version without it still run: they would plan what is planned already.
    pipeline: bool = True
    lease_seconds: float = Field(default=60, gt=0)
    heartbeat_seconds: float = Field(default=10, gt=0)
    stall_seconds: float = Field(default=900, gt=0)  # no progress for this long: the GPU process is replaced
    max_attempts: int = Field(default=3, ge=1)  # per step
    # Jobs in a row whose GPU process fails on one worker with GPUs, and on no other: that worker claims
    # nothing more until an operator releases it. 0: only where it fails its self-test.
    quarantine_after: int = Field(default=2, ge=0)
    # Pause after the platform's first failure of a step; each next is three times as long, up to a limit.
    retry_seconds: float = Field(default=5, gt=0)
    retry_max_seconds: float = Field(default=3600, gt=0)
    retry_limit: int = Field(default=100, ge=1)  # such failures of a step, some four days: its job then fails
    redispatch_seconds: float = Field(default=30, gt=0)  # a queued step is notified again after this long
    scheduler_seconds: float = Field(default=0.5, gt=0)  # pause between two turns of the scheduler
    record_batch: int = Field(default=64, ge=1)  # rationales per transaction; what a crash can cost

    rate_limit: str = "1200/minute"  # requests per key; shared by all API processes where a broker is named
    project_rate_limit: str = "6000/minute"  # of all keys of a project together
    wrong_key_limit: str = (
        "60/minute"  # per address; after these only keys that were valid before are looked at
    )
    shared_report_limit: str = "60/minute"  # reports opened by links, right or wrong ones, per address
    connections: int = Field(default=4096, ge=1)  # open ones of one API process; more are answered 503
    streams_per_key: int = Field(default=1000, ge=1)  # of events, open at once in one API process
    body_idle_seconds: float = Field(default=30, gt=0)  # without a byte of a body that is awaited
    body_seconds: float = Field(default=60, gt=0)  # for a whole body that is no upload
    upload_body_seconds: float = Field(default=3600, gt=0)  # for an upload's
    max_upload_bytes: int = Field(default=1 << 30, ge=1)
    max_unpacked_bytes: int = Field(default=4 << 30, ge=1)  # of an upload that was sent compressed
    max_line_bytes: int = Field(default=1 << 20, ge=1)
    max_rows: int = Field(default=10_000_000, ge=1)
    max_row_errors: int = Field(default=100, ge=1)  # bad rows described per upload; all are counted
    requests_at_once: int = Field(default=4, ge=1)  # of a project, by one API process; the rest of it wait
    uploads_at_once: int = Field(default=2, ge=1)  # read and stored by one API process; the rest wait
    dry_runs_at_once: int = Field(default=2, ge=1)  # likewise, of jobs that are tried out
    jobs_made_at_once: int = Field(default=4, ge=1)  # likewise, of jobs and forks that are checked and made
    upload_memory_bytes: int = Field(
        default=1 << 30, ge=1 << 29
    )  # address space of each process that reads one
    upload_seconds: int = Field(default=1800, ge=1)  # to read one

    webhook_secret: str = (
        ""  # what webhooks' secrets follow from; empty: a file under home, embedded mode only
    )
    webhook_allowed_hosts: list[str] = []  # host or host:port that may be private and plain http
    webhook_attempts: int = Field(default=8, ge=1)  # per delivery
    webhook_retry_seconds: float = Field(
        default=5, gt=0
    )  # pause after the first; each next is five times longer
    webhook_seconds: float = Field(default=15, gt=0, le=20)  # for the whole of one attempt

    currency: str = Field(default="USD", pattern=r"^[A-Z]{3}$")  # of the prices: ISO 4217
    # Of a GPU's hour, by the class that workers state, such as {"h100": 2.5}; "": of workers that state none.
    gpu_prices: dict[Annotated[str, Field(pattern=GPU_CLASS_OR_NONE)], Annotated[float, Field(ge=0)]] = {}

    # Spans of requests, jobs, steps and calls to the GPU process, sent over OTLP/HTTP as the OTEL_* variables
    # say; needs the extra `otel`.
    traces: Literal["off", "otlp"] = "off"

    # Of this server, as browsers reach it: of links to reports; the identity provider needs it.
    public_url: str = ""
    oidc_issuer: str = ""  # people sign in with this identity provider; empty: with API keys alone
    oidc_client_id: str = ""
    oidc_client_secret: str = ""  # empty: a public client
    oidc_scope: str = "openid profile email groups"
    oidc_groups_claim: str = "groups"
    oidc_roles: dict[str, str] = {}  # group to project:scope, such as {"ml": "research:submit"}
    oidc_key_seconds: float = Field(default=43_200, gt=0)  # for which a personal key lives

    sampler: Literal["transformers", "vllm", "scripted"] = "transformers"
    sampler_script: str | None = None  # module:function of the scripted sampler, which the tests use
    sampler_options: dict[str, Any] = {}
    device: Literal["cpu", "cuda"] = "cpu"
    threads: int | None = None  # torch threads of the GPU process on CPU; None: torch's own choice
    gpus: int = Field(default=1, ge=1)  # of this worker: processes that train together, on CPU too
    # Whether each of those holds a piece of the base model (FSDP2): auto where no GPU holds it whole.
    sharding: Literal["auto", "always", "never"] = "auto"
    # Of each GPU, and its class, such as h100. None: on CUDA what the driver says, else none is stated.
    gpu_memory_gib: float | None = Field(default=None, gt=0)
    gpu_class: str | None = Field(default=None, pattern=GPU_CLASS)
    sampler_batch: int = Field(default=64, ge=1)  # sequences decoded at once by the transformers sampler

    # Where programs run that a model or a user wrote. With a URL: in the service that answers there
    # (worker/sandbox/service.py), for workers, servers of models and the API. Else workers and servers
    # confine them on their own machine, unless this is off, and the API runs none. Nothing takes the place
    # of a sandbox that fails its probe.
    sandbox: Literal["local", "off"] = "local"
    sandbox_url: str = ""
    sandbox_size: int | None = Field(default=None, ge=1)  # programs at once; None: the cores less one
    sandbox_user: str = ""  # whom they run as where a worker is started by root; empty: as the worker's user
    # What writes for people who ask a model: vLLM's own server as a child, or transformers; None: as jobs.
    serving: Literal["transformers", "vllm"] | None = None
    serving_host: str = "127.0.0.1"  # where `python -m worker.serving` listens
    serving_port: int = Field(default=0, ge=0, le=65535)  # 0: any that is free
    serving_url: str = ""  # where the API reaches it; empty: host and port
    serving_models: list[str] | None = None  # ids that it serves; None: all of the allow-list
    serving_queue: int = Field(default=256, ge=1)  # texts that wait or are written; half for a project
    serving_idle_seconds: float = Field(default=600, gt=0)  # after which it gives its model's memory back
    serving_nice: int = Field(default=10, ge=0, le=19)  # on CPU: jobs that run on this machine come first

    @model_validator(mode="after")
    def _lease_outlives_heartbeats(self) -> Settings:
        if self.lease_seconds < 3 * self.heartbeat_seconds:
            raise ValueError("STAR_LEASE_SECONDS must be at least three times STAR_HEARTBEAT_SECONDS")
        return self

    @model_validator(mode="after")
    def _artifacts_are_no_source(self) -> Settings:
        own = f"{self.storage_url.rstrip('/')}/"
        for place in self.dataset_sources:
            open_to_all = place.partition("{")[0].rstrip("/") + "/"
            if own.startswith(open_to_all) or open_to_all.startswith(own):
                raise ValueError(f"STAR_DATASET_SOURCES: {place} and STAR_STORAGE_URL share a prefix")
        return self

    @model_validator(mode="after")
    def _hub_is_an_address(self) -> Settings:
        try:
            _ = urlsplit(self.hub_url).port
        except ValueError as problem:
            raise ValueError(f"STAR_HUB_URL: {self.hub_url} is no URL: {problem}") from problem
        return self

    @model_validator(mode="after")
    def _sign_in_is_complete(self) -> Settings:
        missing = [name for name in ("public_url", "oidc_client_id", "oidc_roles") if not getattr(self, name)]
        if self.oidc_issuer and missing:
            named = ", ".join(f"STAR_{name.upper()}" for name in missing)
            raise ValueError(f"STAR_OIDC_ISSUER needs {named} too")
        for group, role in self.oidc_roles.items():
            project, _, scope = role.rpartition(":")
            if not project or scope not in ("read", "submit", "admin", "operator"):
                raise ValueError(f"STAR_OIDC_ROLES: {group!r} must be project:scope, not {role!r}")
        return self

    def resolved_database_url(self) -> str:
        return self.database_url or f"sqlite:///{(self.home / 'star.db').absolute()}"

    def resolved_storage_url(self) -> str:
        return self.storage_url or str((self.home / "artifacts").absolute())
