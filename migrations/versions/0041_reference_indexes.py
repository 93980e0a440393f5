"""Indexes of the columns that refer to other tables: a row that goes is looked for in each of them.

Revises: 0040
"""

from __future__ import annotations

from migrations.indexes import build_index, remove_index

revision = "0041"
down_revision = "0040"
branch_labels = None
depends_on = None

INDEXES = [
    ("ix_webhook_deliveries_job_id", "webhook_deliveries", "job_id"),
    ("ix_webhooks_job_id", "webhooks", "job_id"),
    ("ix_idempotency_keys_job_id", "idempotency_keys", "job_id"),
    ("ix_candidates_example_id", "candidates", "example_id"),
    ("ix_question_curves_example_id", "question_curves", "example_id"),
    ("ix_jobs_dataset_id", "jobs", "dataset_id"),
    ("ix_jobs_prompt_set_id", "jobs", "prompt_set_id"),
    ("ix_jobs_created_by", "jobs", "created_by"),
    ("ix_overrides_key_id", "overrides", "key_id"),
    ("ix_api_keys_project_id", "api_keys", "project_id"),
    ("ix_files_project_id", "files", "project_id"),
    ("ix_prompt_sets_project_id", "prompt_sets", "project_id"),
]


def upgrade() -> None:
    for name, table, column in INDEXES:
        build_index(name, table, [column])


def downgrade() -> None:
    for name, table, _ in reversed(INDEXES):
        remove_index(name, table)
