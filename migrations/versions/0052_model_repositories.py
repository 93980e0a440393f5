"""The hub repository that a base model came from, so that what is made of it can name it.

Revises: 0051
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0052"
down_revision = "0051"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("models", sa.Column("repository", sa.Text()))


def downgrade() -> None:
    op.drop_column("models", "repository")
