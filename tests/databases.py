"""Databases for tests: made once by the migrations, then copied, which takes milliseconds."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from alembic import command
from alembic.config import Config
from psycopg import sql
from sqlalchemy import Connection

from app.database import make_engine

PROJECT = Path(__file__).parents[1]
TEMPLATE = "star_template"


def migrate(url: str) -> None:
    """Bring the database to the newest revision, as `alembic upgrade head` does; no connection stays open."""
    engine = make_engine(url)
    with engine.begin() as connection:
        command.upgrade(alembic_config(connection), "head")
    engine.dispose()


def alembic_config(connection: Connection) -> Config:
    """The project's own settings; commands given it run on this connection, in its transaction."""
    config = Config(toml_file=str(PROJECT / "pyproject.toml"))
    config.attributes["connection"] = connection
    return config


def make_postgres_template(server_url: str) -> None:
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(TEMPLATE)))
    migrate(_database(server_url, TEMPLATE))


@contextmanager
def postgres_copy(server_url: str, template: str = TEMPLATE) -> Iterator[str]:
    """The URL of a database of its own, dropped in the end with whoever is still connected to it.

    From "template1" it comes out empty.
    """
    name = f"star_{uuid.uuid4().hex}"
    names = {"name": sql.Identifier(name), "template": sql.Identifier(template)}
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {name} TEMPLATE {template}").format(**names))
        yield _database(server_url, name)
        connection.execute(sql.SQL("DROP DATABASE {name} WITH (FORCE)").format(name=names["name"]))


def _database(server_url: str, name: str) -> str:
    return f"{server_url.rsplit('/', 1)[0]}/{name}"
