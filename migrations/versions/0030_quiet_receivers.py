"""Receivers of webhooks that are left alone for a while, and deliveries that are sent again by hand.

Revises: 0029
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("webhooks", sa.Column("unanswered", sa.Integer()))
    op.add_column("webhooks", sa.Column("quiet_until", sa.DateTime(timezone=True)))
    op.add_column("webhook_deliveries", sa.Column("attempts_before", sa.Integer()))


def downgrade() -> None:
    with op.batch_alter_table("webhook_deliveries") as deliveries:
        deliveries.drop_column("attempts_before")
    with op.batch_alter_table("webhooks") as webhooks:
        webhooks.drop_column("quiet_until")
        webhooks.drop_column("unanswered")
