"""An iteration has one adapter of each role.

Revises: 0027
"""

from __future__ import annotations

from migrations.indexes import build_index, remove_index

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None

NAME = "uq_adapters_job_id_iteration_number_role"


def upgrade() -> None:
    build_index(NAME, "adapters", ["job_id", "iteration_number", "role"], unique=True)


def downgrade() -> None:
    remove_index(NAME, "adapters")
