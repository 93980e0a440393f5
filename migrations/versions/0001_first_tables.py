"""The first tables.

Revises: nothing
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TEXT = sa.Text()
TIME = sa.DateTime(timezone=True)
JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

TABLES = (
    "projects",
    "api_keys",
    "datasets",
    "examples",
    "prompt_sets",
    "models",
    "jobs",
    "iterations",
    "steps",
    "rationales",
    "training_examples",
    "adapters",
    "evaluations",
    "events",
    "outbox",
    "idempotency_keys",
)


def column(name: str, type_: sa.types.TypeEngine[Any], *, null: bool = False) -> sa.Column[Any]:
    return sa.Column(name, type_, nullable=null)


def upgrade() -> None:
    op.create_table(
        "projects",
        column("id", TEXT),
        column("name", TEXT),
        column("created_at", TIME),
        sa.PrimaryKeyConstraint("id", name="pk_projects"),
        sa.UniqueConstraint("name", name="uq_projects_name"),
    )
    op.create_table(
        "api_keys",
        column("id", TEXT),
        column("project_id", TEXT),
        column("name", TEXT),
        column("secret_sha256", TEXT),
        column("scopes", JSON),
        column("expires_at", TIME, null=True),
        column("revoked_at", TIME, null=True),
        column("created_at", TIME),
        sa.PrimaryKeyConstraint("id", name="pk_api_keys"),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name="fk_api_keys_project_id_projects"),
        sa.UniqueConstraint("secret_sha256", name="uq_api_keys_secret_sha256"),
    )
    op.create_table(
        "datasets",
        column("id", TEXT),
        column("project_id", TEXT),
        column("name", TEXT),
        column("kind", TEXT),
        column("sha256", TEXT),
        column("size_bytes", sa.BigInteger()),
        column("splits", JSON),
        column("created_at", TIME),
        sa.PrimaryKeyConstraint("id", name="pk_datasets"),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name="fk_datasets_project_id_projects"),
        sa.UniqueConstraint("project_id", "sha256", name="uq_datasets_project_id_sha256"),
    )
    op.create_table(
        "examples",
        column("id", SERIAL),
        column("dataset_id", TEXT),
        column("split", TEXT),
        column("position", sa.Integer()),
        column("external_id", TEXT),
        column("question", TEXT),
        column("answer", TEXT),
        column("choices", JSON, null=True),
        column("group", TEXT, null=True),
        sa.PrimaryKeyConstraint("id", name="pk_examples"),
        sa.ForeignKeyConstraint(
            ["dataset_id"], ["datasets.id"], name="fk_examples_dataset_id_datasets", ondelete="CASCADE"
        ),
        sa.UniqueConstraint("dataset_id", "external_id", name="uq_examples_dataset_id_external_id"),
        sa.UniqueConstraint("dataset_id", "split", "position", name="uq_examples_dataset_id_split_position"),
    )
    op.create_table(
        "prompt_sets",
        column("id", TEXT),
        column("project_id", TEXT),
        column("name", TEXT),
        column("kind", TEXT),
        column("examples", JSON),
        column("sha256", TEXT),
        column("created_at", TIME),
        sa.PrimaryKeyConstraint("id", name="pk_prompt_sets"),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name="fk_prompt_sets_project_id_projects"),
    )
    op.create_table(
        "models",
        column("id", TEXT),
        column("location", TEXT),
        column("revision", TEXT, null=True),
        column("files", JSON),
        column("context_length", sa.Integer()),
        column("license", TEXT, null=True),
        column("created_at", TIME),
        sa.PrimaryKeyConstraint("id", name="pk_models"),
    )
    op.create_table(
        "jobs",
        column("id", TEXT),
        column("project_id", TEXT),
        column("name", TEXT),
        column("status", TEXT),
        column("phase", TEXT, null=True),
        column("iteration", sa.Integer()),
        column("stop_reason", TEXT, null=True),
        column("status_reason", JSON, null=True),
        column("config", JSON),
        column("dataset_id", TEXT),
        column("prompt_set_id", TEXT),
        column("model_id", TEXT),
        column("priority", sa.Integer()),
        column("labels", JSON),
        column("created_by", TEXT),
        column("events_written", sa.Integer()),
        column("created_at", TIME),
        column("started_at", TIME, null=True),
        column("finished_at", TIME, null=True),
        sa.PrimaryKeyConstraint("id", name="pk_jobs"),
        sa.ForeignKeyConstraint(["created_by"], ["api_keys.id"], name="fk_jobs_created_by_api_keys"),
        sa.ForeignKeyConstraint(["dataset_id"], ["datasets.id"], name="fk_jobs_dataset_id_datasets"),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name="fk_jobs_model_id_models"),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name="fk_jobs_project_id_projects"),
        sa.ForeignKeyConstraint(
            ["prompt_set_id"], ["prompt_sets.id"], name="fk_jobs_prompt_set_id_prompt_sets"
        ),
    )
    op.create_index("ix_jobs_project_id_id", "jobs", ["project_id", "id"])
    op.create_table(
        "iterations",
        column("id", SERIAL),
        column("job_id", TEXT),
        column("number", sa.Integer()),
        column("phases_done", JSON),
        column("metrics", JSON),
        column("training_set_sha256", TEXT, null=True),
        column("created_at", TIME),
        column("finished_at", TIME, null=True),
        sa.PrimaryKeyConstraint("id", name="pk_iterations"),
        sa.ForeignKeyConstraint(
            ["job_id"], ["jobs.id"], name="fk_iterations_job_id_jobs", ondelete="CASCADE"
        ),
        sa.UniqueConstraint("job_id", "number", name="uq_iterations_job_id_number"),
    )
    op.create_table(
        "steps",
        column("id", TEXT),
        column("job_id", TEXT),
        column("iteration_number", sa.Integer()),
        column("phase", TEXT),
        column("shard", sa.Integer()),
        column("work", JSON),
        column("model_id", TEXT),
        column("priority", sa.Integer()),
        column("status", TEXT),
        column("attempt", sa.Integer()),
        column("fence", sa.BigInteger()),
        column("lease_owner", TEXT, null=True),
        column("lease_until", TIME, null=True),
        column("progress", JSON),
        column("error", JSON, null=True),
        column("rung_at", TIME, null=True),
        column("created_at", TIME),
        column("started_at", TIME, null=True),
        column("finished_at", TIME, null=True),
        sa.PrimaryKeyConstraint("id", name="pk_steps"),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_steps_job_id_jobs", ondelete="CASCADE"),
        sa.UniqueConstraint(
            "job_id",
            "iteration_number",
            "phase",
            "shard",
            name="uq_steps_job_id_iteration_number_phase_shard",
        ),
    )
    op.create_index("ix_steps_status_priority_id", "steps", ["status", "priority", "id"])
    op.create_table(
        "rationales",
        column("id", SERIAL),
        column("job_id", TEXT),
        column("iteration_id", SERIAL),
        column("iteration_number", sa.Integer()),
        column("example_id", SERIAL),
        column("route", TEXT),
        column("sample", sa.Integer()),
        column("text", TEXT),
        column("extracted", TEXT, null=True),
        column("verdict", TEXT),
        column("rule", TEXT),
        column("decision", TEXT, null=True),
        column("reason", TEXT, null=True),
        column("prompt_tokens", sa.Integer()),
        column("tokens", sa.Integer()),
        column("finish_reason", TEXT),
        column("sampler_adapter_id", TEXT, null=True),
        column("created_at", TIME),
        sa.PrimaryKeyConstraint("id", name="pk_rationales"),
        sa.ForeignKeyConstraint(["example_id"], ["examples.id"], name="fk_rationales_example_id_examples"),
        sa.ForeignKeyConstraint(
            ["iteration_id"],
            ["iterations.id"],
            name="fk_rationales_iteration_id_iterations",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["job_id"], ["jobs.id"], name="fk_rationales_job_id_jobs", ondelete="CASCADE"
        ),
        sa.UniqueConstraint(
            "iteration_id",
            "example_id",
            "route",
            "sample",
            name="uq_rationales_iteration_id_example_id_route_sample",
        ),
    )
    op.create_index("ix_rationales_example_id", "rationales", ["example_id"])
    op.create_index("ix_rationales_job_id_id", "rationales", ["job_id", "id"])
    op.create_table(
        "training_examples",
        column("id", SERIAL),
        column("iteration_id", SERIAL),
        column("rationale_id", SERIAL),
        column("position", sa.Integer()),
        column("prompt", TEXT),
        column("completion", TEXT),
        sa.PrimaryKeyConstraint("id", name="pk_training_examples"),
        sa.ForeignKeyConstraint(
            ["iteration_id"],
            ["iterations.id"],
            name="fk_training_examples_iteration_id_iterations",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["rationale_id"],
            ["rationales.id"],
            name="fk_training_examples_rationale_id_rationales",
            ondelete="CASCADE",
        ),
        sa.UniqueConstraint("iteration_id", "position", name="uq_training_examples_iteration_id_position"),
        sa.UniqueConstraint("rationale_id", name="uq_training_examples_rationale_id"),
    )
    op.create_table(
        "adapters",
        column("id", TEXT),
        column("job_id", TEXT),
        column("iteration_number", sa.Integer()),
        column("files", JSON),
        column("training", JSON),
        column("verification", JSON, null=True),
        column("created_at", TIME),
        sa.PrimaryKeyConstraint("id", name="pk_adapters"),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_adapters_job_id_jobs", ondelete="CASCADE"),
        sa.UniqueConstraint("job_id", "iteration_number", name="uq_adapters_job_id_iteration_number"),
    )
    op.create_table(
        "evaluations",
        column("id", SERIAL),
        column("iteration_id", SERIAL),
        column("mode", TEXT),
        column("example_id", SERIAL),
        column("text", TEXT),
        column("extracted", TEXT, null=True),
        column("verdict", TEXT),
        column("tokens", sa.Integer()),
        column("finish_reason", TEXT),
        column("created_at", TIME),
        sa.PrimaryKeyConstraint("id", name="pk_evaluations"),
        sa.ForeignKeyConstraint(["example_id"], ["examples.id"], name="fk_evaluations_example_id_examples"),
        sa.ForeignKeyConstraint(
            ["iteration_id"],
            ["iterations.id"],
            name="fk_evaluations_iteration_id_iterations",
            ondelete="CASCADE",
        ),
        sa.UniqueConstraint(
            "iteration_id", "mode", "example_id", name="uq_evaluations_iteration_id_mode_example_id"
        ),
    )
    op.create_table(
        "events",
        column("id", SERIAL),
        column("job_id", TEXT),
        column("seq", sa.Integer()),
        column("type", TEXT),
        column("data", JSON),
        column("created_at", TIME),
        sa.PrimaryKeyConstraint("id", name="pk_events"),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_events_job_id_jobs", ondelete="CASCADE"),
        sa.UniqueConstraint("job_id", "seq", name="uq_events_job_id_seq"),
    )
    op.create_table(
        "outbox",
        column("id", SERIAL),
        column("step_id", TEXT),
        column("created_at", TIME),
        sa.PrimaryKeyConstraint("id", name="pk_outbox"),
    )
    op.create_table(
        "idempotency_keys",
        column("project_id", TEXT),
        column("key", TEXT),
        column("fingerprint", TEXT),
        column("job_id", TEXT),
        column("created_at", TIME),
        sa.PrimaryKeyConstraint("project_id", "key", name="pk_idempotency_keys"),
        sa.ForeignKeyConstraint(
            ["job_id"], ["jobs.id"], name="fk_idempotency_keys_job_id_jobs", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name="fk_idempotency_keys_project_id_projects"
        ),
    )


def downgrade() -> None:
    for table in reversed(TABLES):
        op.drop_table(table)
