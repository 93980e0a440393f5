"""For pages: what became of a rationale, for several filters at once; examples in file order; jobs by status.

Revises: 0022
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

NAME = "ix_rationales_job_id_outcome_id"
OUTCOME = (
    "((((((route || '/') || verdict) || '/') || coalesce(decision, '')) || '/') || coalesce(reason, ''))"
)


def upgrade() -> None:
    op.create_index(NAME, "rationales", ["job_id", sa.text(OUTCOME), "id"])
    op.create_index("ix_examples_dataset_id_id", "examples", ["dataset_id", "id"])
    op.create_index("ix_jobs_project_id_status_id", "jobs", ["project_id", "status", "id"])


def downgrade() -> None:
    op.drop_index("ix_jobs_project_id_status_id", "jobs")
    op.drop_index("ix_examples_dataset_id_id", "examples")
    op.drop_index(NAME, "rationales")
