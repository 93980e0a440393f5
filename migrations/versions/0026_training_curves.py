"""Every optimizer step of a training, in a row beside its iteration.

Revises: 0025
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None

JSON = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")
BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "training_curves",
        sa.Column("id", BIG, nullable=False),
        sa.Column("iteration_id", BIG, nullable=False),
        sa.Column("steps", JSON, nullable=False),
        sa.ForeignKeyConstraint(
            ["iteration_id"],
            ["iterations.id"],
            name=op.f("fk_training_curves_iteration_id_iterations"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_training_curves")),
        sa.UniqueConstraint("iteration_id", name=op.f("uq_training_curves_iteration_id")),
    )


def downgrade() -> None:
    op.drop_table("training_curves")
