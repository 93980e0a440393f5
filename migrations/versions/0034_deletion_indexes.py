"""Indexes that deletion needs: each example and rationale that goes is looked for in the tables that name it.

Revises: 0033
"""

from __future__ import annotations

from migrations.indexes import build_index, remove_index

revision = "0034"
down_revision = "0033"
branch_labels = None
depends_on = None

INDEXES = [
    ("ix_jobs_deleted_at", "jobs", "deleted_at"),
    ("ix_evaluations_example_id", "evaluations", "example_id"),
    ("ix_overrides_example_id", "overrides", "example_id"),
    ("ix_overrides_rationale_id", "overrides", "rationale_id"),
]


def upgrade() -> None:
    for name, table, column in INDEXES:
        build_index(name, table, [column])


def downgrade() -> None:
    for name, table, _ in reversed(INDEXES):
        remove_index(name, table)
