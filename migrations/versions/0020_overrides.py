"""Human verdicts on rationales.

Revises: 0019
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "overrides",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("rationale_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("example_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("text_sha256", sa.Text(), nullable=False),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("reviewer", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_overrides"),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], "fk_overrides_job_id_jobs", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["rationale_id"], ["rationales.id"], "fk_overrides_rationale_id_rationales", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["example_id"], ["examples.id"], "fk_overrides_example_id_examples"),
        sa.ForeignKeyConstraint(["key_id"], ["api_keys.id"], "fk_overrides_key_id_api_keys"),
    )
    op.create_index("ix_overrides_job_id_example_id", "overrides", ["job_id", "example_id"])
    op.add_column("rationales", sa.Column("override_id", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    op.drop_column("rationales", "override_id")
    op.drop_table("overrides")
