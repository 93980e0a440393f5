"""Alembic's entry: runs on what the caller gives, else on the deployment's own database."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from alembic import context
from sqlalchemy import Connection

import app.tables
from app.database import make_engine
from app.settings import Settings
from app.tables.base import Base

for module in iter_modules(app.tables.__path__):  # a table is known once its module was imported
    import_module(f"app.tables.{module.name}")


def run(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        render_as_batch=True,  # SQLite cannot alter most of a table in place
        compare_type=True,
        compare_server_default=True,
    )
    with context.begin_transaction():
        context.run_migrations()


given = context.config.attributes.get("connection")
if isinstance(given, Connection):
    run(given)
else:
    with make_engine(
        context.config.attributes.get("url") or Settings().resolved_database_url()
    ).begin() as connection:
        run(connection)
