"""Indexes of tables that are being written to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from alembic import op
from sqlalchemy import Connection, TextClause, text


def build_index(name: str, table: str, columns: Sequence[str | TextClause], **options: Any) -> None:
    """Create an index; on PostgreSQL while the table is written to, which op.create_index would block.

    It commits what the revision has done before, so a revision that calls this does nothing else. Where it
    was stopped half-way it leaves an invalid index, which the next run of the revision replaces. `options`
    are those of op.create_index.
    """
    if not _concurrently():
        op.create_index(name, table, [*columns], **options)
        return
    with op.get_context().autocommit_block():
        before = op.get_bind().scalar(text("SHOW lock_timeout"))
        # It waits for the transactions that were open before it, and nobody waits for it.
        op.execute(text("SET lock_timeout = 0"))
        op.drop_index(name, table, if_exists=True, postgresql_concurrently=True)
        op.create_index(name, table, [*columns], postgresql_concurrently=True, **options)
        op.execute(text("SELECT set_config('lock_timeout', :before, false)").bindparams(before=before))


def remove_index(name: str, table: str) -> None:
    """Drop an index, on PostgreSQL without blocking those who read and write the table."""
    if not _concurrently():
        op.drop_index(name, table)
        return
    with op.get_context().autocommit_block():
        op.drop_index(name, table, if_exists=True, postgresql_concurrently=True)


def _concurrently() -> bool:
    """Not on SQLite, and not in the transaction of a caller that gave its connection."""
    config = op.get_context().config
    within = config is not None and isinstance(config.attributes.get("connection"), Connection)
    return op.get_context().dialect.name == "postgresql" and not within
