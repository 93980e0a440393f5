"""Under which key an answer can be found again, and whether it was.

Only additions with an empty default: workers of the revision before keep running through it.

Revises: 0012
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

TABLES = ("rationales", "evaluations")


def upgrade() -> None:
    for table in TABLES:
        op.add_column(table, sa.Column("request_sha256", sa.Text(), nullable=True))
        op.add_column(table, sa.Column("reused", sa.Boolean(), server_default=sa.false(), nullable=False))
        op.create_index(f"ix_{table}_request_sha256", table, ["request_sha256"])


def downgrade() -> None:
    for table in TABLES:
        op.drop_index(f"ix_{table}_request_sha256", table)
        op.drop_column(table, "reused")
        op.drop_column(table, "request_sha256")
