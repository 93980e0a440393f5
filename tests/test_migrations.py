from __future__ import annotations

from alembic import command
from sqlalchemy import inspect

from app.database import make_engine
from app.tables.base import Base
from tests.databases import alembic_config


def test_migrations_make_exactly_the_tables_of_the_models(database_url: str) -> None:
    engine = make_engine(database_url)
    with engine.begin() as connection:
        config = alembic_config(connection)
        command.check(config)  # raises where autogenerate finds a difference
        assert {*inspect(connection).get_table_names()} == {*Base.metadata.tables, "alembic_version"}
    engine.dispose()


def test_every_revision_can_be_taken_back(database_url: str) -> None:
    engine = make_engine(database_url)
    with engine.begin() as connection:
        config = alembic_config(connection)
        command.downgrade(config, "base")
        assert inspect(connection).get_table_names() == ["alembic_version"]
        command.upgrade(config, "head")
        command.check(config)
    engine.dispose()
