"""Of a probe: how many train questions an iteration of the job asks that it stands for.

Revises: 0045
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0046"
down_revision = "0045"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("stands_for", sa.Integer(), nullable=True))


def downgrade() -> None:
    op.drop_column("jobs", "stands_for")
