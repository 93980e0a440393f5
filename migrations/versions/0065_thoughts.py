"""Thoughts between the tokens of held-out documents.

Revises: 0064
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from migrations.columns import SERIAL

revision = "0065"
down_revision = "0064"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "thoughts",
        sa.Column("id", SERIAL, nullable=False),
        sa.Column("iteration_id", SERIAL, nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("before", "thought", "token")),
        *(sa.Column(name, sa.Double(), nullable=False) for name in ("gain", "nll")),
        sa.Column("drawn", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["iteration_id"],
            ["iterations.id"],
            name=op.f("fk_thoughts_iteration_id_iterations"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_thoughts")),
        sa.UniqueConstraint("iteration_id", "position", name=op.f("uq_thoughts_iteration_id_position")),
    )


def downgrade() -> None:
    op.drop_table("thoughts")
