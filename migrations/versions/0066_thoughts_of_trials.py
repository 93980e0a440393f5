"""What was thought before each token of an answer to a trial.

Revises: 0065
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from migrations.columns import JSON

revision = "0066"
down_revision = "0065"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("trial_answers", sa.Column("thoughts", JSON, nullable=True))


def downgrade() -> None:
    op.drop_column("trial_answers", "thoughts")
