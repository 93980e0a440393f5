"""${message}

Revises: ${down_revision | comma,n}

It waits 3 s for a lock at most (env.py). An index of a table that may be large is built by
migrations.indexes.build_index, in a revision of its own: op.create_index would block all who write to the table.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
${imports if imports else ""}

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = None
depends_on = None


def upgrade() -> None:
    ${upgrades if upgrades else "pass"}


def downgrade() -> None:
    ${downgrades if downgrades else "pass"}
