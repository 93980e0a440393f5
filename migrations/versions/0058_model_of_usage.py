"""Which base model a claim has asked: metrics outlive the job.

Revises: 0057
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0058"
down_revision = "0057"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("usage", sa.Column("model_id", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("usage", "model_id")
