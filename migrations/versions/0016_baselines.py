"""Which job a baseline stands beside, and by which preset.

Only additions with an empty default: workers of the revision before keep running through it.

Revises: 0015
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("baseline_of", sa.Text(), nullable=True))
    op.add_column("jobs", sa.Column("baseline", sa.Text(), nullable=True))
    op.create_index("ix_jobs_baseline_of", "jobs", ["baseline_of"])


def downgrade() -> None:
    op.drop_index("ix_jobs_baseline_of", "jobs")
    op.drop_column("jobs", "baseline")
    op.drop_column("jobs", "baseline_of")
