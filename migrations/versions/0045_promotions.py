"""Which adapter stands for a name at a stage; and the reason that a request gave, in the audit log.

Revises: 0044
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from app.database import UtcDateTime
from migrations.columns import JSON

revision = "0045"
down_revision = "0044"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "promotions",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("adapter_id", sa.Text(), nullable=False),
        sa.Column("forced", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("receipt", JSON, nullable=False),
        sa.Column("over_previous", JSON, nullable=True),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("promoted_by", sa.Text(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("ended_at", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name=op.f("fk_promotions_project_id_projects")
        ),
        sa.ForeignKeyConstraint(
            ["adapter_id"],
            ["adapters.id"],
            name=op.f("fk_promotions_adapter_id_adapters"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(["key_id"], ["api_keys.id"], name=op.f("fk_promotions_key_id_api_keys")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_promotions")),
    )
    current = sa.text("ended_at IS NULL")
    op.create_index(
        "uq_promotions_project_id_name_stage",
        "promotions",
        ["project_id", "name", "stage"],
        unique=True,
        sqlite_where=current,
        postgresql_where=current,
    )
    op.create_index("ix_promotions_project_id_id", "promotions", ["project_id", "id"])
    op.create_index("ix_promotions_adapter_id", "promotions", ["adapter_id"])
    op.add_column("audit_log", sa.Column("reason", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("audit_log", "reason")
    op.drop_table("promotions")
