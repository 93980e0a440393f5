"""An index of the keys that promotions refer to.

Revises: 0047
"""

from __future__ import annotations

from migrations.indexes import build_index, remove_index

revision = "0048"
down_revision = "0047"
branch_labels = None
depends_on = None


def upgrade() -> None:
    build_index("ix_promotions_key_id", "promotions", ["key_id"])


def downgrade() -> None:
    remove_index("ix_promotions_key_id", "promotions")
