"""What an adapter is trained for. Those that there are generate.

Revises: 0026
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("adapters", sa.Column("role", sa.Text(), nullable=False, server_default="generator"))


def downgrade() -> None:
    with op.batch_alter_table("adapters") as adapters:
        adapters.drop_column("role")
