"""An Idempotency-Key may stand for an object of any kind, not for a job alone.

Revises: 0039
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0040"
down_revision = "0039"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("idempotency_keys") as keys:
        keys.add_column(sa.Column("object_id", sa.Text(), nullable=True))
        keys.alter_column("job_id", existing_type=sa.Text(), nullable=True)


def downgrade() -> None:
    op.execute(sa.text("DELETE FROM idempotency_keys WHERE job_id IS NULL"))
    with op.batch_alter_table("idempotency_keys") as keys:
        keys.alter_column("job_id", existing_type=sa.Text(), nullable=False)
        keys.drop_column("object_id")
