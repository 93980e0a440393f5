"""Programs that served texts call, and whether a server of models may execute them.

Revises: 0063
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0064"
down_revision = "0063"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name in ("executions", "cpu_ms"):
        op.add_column("text_usage", sa.Column(name, sa.BigInteger(), server_default="0", nullable=False))
    op.add_column("servers", sa.Column("sandbox", sa.Text()))


def downgrade() -> None:
    op.drop_column("servers", "sandbox")
    for name in ("cpu_ms", "executions"):
        op.drop_column("text_usage", name)
