"""An iteration may have adapters of several roles: the constraint to one of any role goes.

Back down, the constraint refuses a database that holds several: it says which iteration has them.

Revises: 0028
"""

from __future__ import annotations

from alembic import op

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None

NAME = "uq_adapters_job_id_iteration_number"


def upgrade() -> None:
    with op.batch_alter_table("adapters") as adapters:
        adapters.drop_constraint(NAME, type_="unique")


def downgrade() -> None:
    with op.batch_alter_table("adapters") as adapters:
        adapters.create_unique_constraint(NAME, ["job_id", "iteration_number"])
