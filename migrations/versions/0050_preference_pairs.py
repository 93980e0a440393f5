"""Pairs of right and wrong tries, what the reference model says of them, and the curves of verifiers.

Revises: 0049
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from migrations.columns import JSON, SERIAL

revision = "0050"
down_revision = "0049"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "preference_pairs",
        sa.Column("id", SERIAL, nullable=False),
        sa.Column("iteration_id", SERIAL, nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("example_id", SERIAL, nullable=False),
        *(sa.Column(name, sa.Integer(), nullable=False) for name in ("chosen_iteration", "chosen_sample")),
        *(
            sa.Column(name, sa.Integer(), nullable=False)
            for name in ("rejected_iteration", "rejected_sample")
        ),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("prompt", "chosen", "rejected")),
        sa.Column("held_out", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("weight", sa.Double(), nullable=False),
        sa.Column("reference_chosen", sa.Double(), nullable=True),
        sa.Column("reference_rejected", sa.Double(), nullable=True),
        _of_iteration("preference_pairs"),
        sa.ForeignKeyConstraint(
            ["example_id"], ["examples.id"], name=op.f("fk_preference_pairs_example_id_examples")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_preference_pairs")),
        sa.UniqueConstraint(
            "iteration_id", "position", name=op.f("uq_preference_pairs_iteration_id_position")
        ),
    )
    op.create_index("ix_preference_pairs_example_id", "preference_pairs", ["example_id"])
    op.create_table(
        "verifier_curves",
        sa.Column("id", SERIAL, nullable=False),
        sa.Column("iteration_id", SERIAL, nullable=False),
        sa.Column("steps", JSON, nullable=False),
        _of_iteration("verifier_curves"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_verifier_curves")),
        sa.UniqueConstraint("iteration_id", name=op.f("uq_verifier_curves_iteration_id")),
    )


def _of_iteration(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["iteration_id"],
        ["iterations.id"],
        name=op.f(f"fk_{table}_iteration_id_iterations"),
        ondelete="CASCADE",
    )


def downgrade() -> None:
    op.drop_table("verifier_curves")
    op.drop_table("preference_pairs")
