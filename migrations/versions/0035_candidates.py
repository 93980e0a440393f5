"""Many answers to one held-out question, and what k of them come to.

Revises: 0034
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from app.database import UtcDateTime

revision = "0035"
down_revision = "0034"
branch_labels = None
depends_on = None

JSON = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")
BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "candidates",
        sa.Column("id", BIG, nullable=False),
        sa.Column("iteration_id", BIG, nullable=False),
        sa.Column("example_id", BIG, nullable=False),
        sa.Column("sample", sa.Integer(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("extracted", sa.Text(), nullable=True),
        sa.Column("canonical", sa.Text(), nullable=True),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("prompt_tokens", sa.Integer(), nullable=False),
        sa.Column("tokens", sa.Integer(), nullable=False),
        sa.Column("finish_reason", sa.Text(), nullable=False),
        sa.Column("scores", JSON, nullable=True),
        sa.Column("sampler_adapter_id", sa.Text(), nullable=True),
        sa.Column("request_sha256", sa.Text(), nullable=True),
        sa.Column("reused", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        *_keys("candidates", ["iteration_id", "example_id", "sample"]),
    )
    op.create_index(op.f("ix_candidates_request_sha256"), "candidates", ["request_sha256"])
    op.create_table(
        "question_curves",
        sa.Column("id", BIG, nullable=False),
        sa.Column("iteration_id", BIG, nullable=False),
        sa.Column("example_id", BIG, nullable=False),
        sa.Column("answers", sa.Integer(), nullable=False),
        sa.Column("right", sa.Integer(), nullable=False),
        sa.Column("unparsed", sa.Integer(), nullable=False),
        sa.Column("solutions", sa.Integer(), nullable=False),
        sa.Column("entropy", sa.Double(), nullable=False),
        sa.Column("curves", JSON, nullable=False),
        *_keys("question_curves", ["iteration_id", "example_id"]),
    )


def _keys(table: str, unique: list[str]) -> tuple[sa.Constraint, ...]:
    return (
        sa.ForeignKeyConstraint(
            ["iteration_id"],
            ["iterations.id"],
            name=op.f(f"fk_{table}_iteration_id_iterations"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["example_id"], ["examples.id"], name=op.f(f"fk_{table}_example_id_examples")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{table}")),
        sa.UniqueConstraint(*unique, name=op.f(f"uq_{table}_{'_'.join(unique)}")),
    )


def downgrade() -> None:
    op.drop_table("question_curves")
    op.drop_table("candidates")
