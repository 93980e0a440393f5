"""Alembic's entry: runs on what the caller gives, else on the deployment's own database."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from alembic import context
from sqlalchemy import Connection, Engine, text

import app.tables
from app.database import make_engine
from app.settings import Settings
from app.tables.base import Base

for module in iter_modules(app.tables.__path__):  # a table is known once its module was imported
    import_module(f"app.tables.{module.name}")


# Whatever wants the table queues up behind a migration that waits for it, so the migration gives up before
# people notice. What it had done of its revision is rolled back, and it can be run again at once.
LOCK_TIMEOUT = "3s"


def run(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        render_as_batch=True,  # SQLite cannot alter most of a table in place
        compare_type=True,
        compare_server_default=True,
        transaction_per_migration=True,  # no lock is held from one revision to the next
    )
    with context.begin_transaction():
        context.run_migrations()


def run_on(engine: Engine) -> None:
    with engine.connect() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text(f"SET lock_timeout = '{LOCK_TIMEOUT}'"))
            connection.commit()
        run(connection)
        connection.commit()


given = context.config.attributes.get("connection")
if isinstance(given, Connection):  # the caller's transaction, and its timeouts
    run(given)
elif isinstance(given, Engine):
    run_on(given)
else:
    run_on(make_engine(context.config.attributes.get("url") or Settings().resolved_database_url()))
