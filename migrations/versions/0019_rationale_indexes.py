"""An index for every filter of the rationales, each ending in the id, so that a page needs no sort.

Revises: 0018
"""

from __future__ import annotations

from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

INDEXES = (
    ("job_id", "iteration_number", "id"),
    ("job_id", "route", "id"),
    ("job_id", "verdict", "id"),
    ("job_id", "decision", "id"),
    ("job_id", "reason", "id"),
    ("example_id", "job_id", "id"),
)


def upgrade() -> None:
    for columns in INDEXES:
        op.create_index(f"ix_rationales_{'_'.join(columns)}", "rationales", list(columns))
    op.drop_index("ix_rationales_example_id", "rationales")  # the last of them does what it did


def downgrade() -> None:
    op.create_index("ix_rationales_example_id", "rationales", ["example_id"])
    for columns in INDEXES:
        op.drop_index(f"ix_rationales_{'_'.join(columns)}", "rationales")
