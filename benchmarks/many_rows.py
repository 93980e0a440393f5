"""Fills tables inside the database: a million rationales in the time of one INSERT ... SELECT."""

from __future__ import annotations

from sqlalchemy import Engine, text
from sqlalchemy.orm import DeclarativeBase

from app.database import transaction

NUMBERS = {
    "postgresql": "generate_series(0, {last}) AS numbers(n)",
    "sqlite": (
        "(WITH RECURSIVE counting(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM counting WHERE n < {last}) "
        "SELECT n FROM counting) AS numbers"
    ),
}


def multiply(
    engine: Engine, table: type[DeclarativeBase], template: str | int, count: int, **columns: str
) -> None:
    """`count` rows like the one with this id. `columns`: SQL over n from 0 on; the others are copied."""
    name = str(table.__tablename__)
    names = [column.name for column in table.__table__.columns if column.name != "id" or "id" in columns]
    values = [columns.get(one, f'template."{one}"') for one in names]
    numbers = NUMBERS[engine.dialect.name].format(last=count - 1)
    quoted = ", ".join(f'"{one}"' for one in names)
    statement = (
        f"INSERT INTO {name} ({quoted}) SELECT {', '.join(values)} "  # noqa: S608 - all of it is written here
        f"FROM {name} AS template CROSS JOIN {numbers} WHERE template.id = :template"
    )
    with transaction(engine) as session:
        session.execute(text(statement), {"template": template})


def settle(engine: Engine) -> None:
    """What autovacuum does some time after so many rows came in. SQLite has none, and gets none."""
    if engine.dialect.name == "postgresql":
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("VACUUM ANALYZE")
