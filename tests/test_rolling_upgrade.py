"""Workers of the version before keep running through a migration: expand first, contract a release later."""

from __future__ import annotations

import io
import subprocess
import tarfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import Column, Connection, Engine, Integer, MetaData, insert, select, update

from app.database import make_engine
from tests.databases import PROJECT, alembic_config
from tests.faults.checker import check
from tests.faults.conftest import quick_world
from tests.platforms import platform, wait_until

APPEND_ONLY = {"audit_log"}  # triggers refuse what no version says
VALUES: dict[type, Any] = {
    bool: True,
    bytes: b"x",
    datetime: datetime(2026, 1, 1, tzinfo=UTC),
    dict: {},
    float: 1.0,
    int: 1,
    object: {},  # JSON
    str: "x",
}


NEWEST = 12  # whose upgrade may still be ahead of somebody; the others run with `make test-long`


def revisions() -> list[str]:
    """Every revision that has one before it, oldest first."""
    found = ScriptDirectory(str(PROJECT / "migrations")).walk_revisions()
    return [one.revision for one in found if one.down_revision is not None][::-1]


OLDER = [pytest.param(one, marks=pytest.mark.long) for one in revisions()[:-NEWEST]]


@pytest.mark.parametrize("revision", [*OLDER, *revisions()[-NEWEST:]])
def test_statements_of_the_version_before_work_after_each_migration(revision: str, database_url: str) -> None:
    """Every table is written and read by the columns that the version before knew, and by no other."""
    engine = make_engine(database_url)
    with engine.begin() as connection:
        config = alembic_config(connection)
        command.downgrade(config, f"{revision}-1" if revision != revisions()[0] else "0001")
        before = MetaData()
        before.reflect(connection)
        use_every_table(connection, before, 1)
        command.upgrade(config, revision)
        use_every_table(connection, before, 2)
    engine.dispose()


def use_every_table(connection: Connection, tables: MetaData, number: int) -> None:
    for table in tables.sorted_tables:  # those that others point at come first
        if table.name != "alembic_version":
            row = {column.name: value_of(column, number) for column in table.columns if needed(column)}
            connection.execute(insert(table).values(row))
            if table.name in APPEND_ONLY:
                continue
            unchanged = {column: column for column in table.columns if not column.primary_key}
            connection.execute(update(table).values(unchanged))
            assert len(connection.execute(select(table)).all()) == number, table.name


def needed(column: Column[Any]) -> bool:
    return not (column.nullable or column.server_default is not None) or bool(column.foreign_keys)


def value_of(column: Column[Any], number: int) -> Any:
    """Different for each row, the same in every table: foreign keys hold."""
    kind = column.type.python_type
    if kind is str:
        return f"x{number}"
    return number if isinstance(column.type, Integer) else VALUES[kind]


def code_before_the_newest_migration(folder: Path) -> str:
    """The project as it was before the newest migration came in; returns that version's own revision."""
    newest = ScriptDirectory(str(PROJECT / "migrations")).get_revision("head")
    path = Path(newest.path).relative_to(PROJECT)
    added = git("log", "--diff-filter=A", "--format=%H", "--", str(path)).decode().split()
    if not added:
        pytest.skip("needs the history: this is not a git repository, or a shallow one")
    with tarfile.open(fileobj=io.BytesIO(git("archive", f"{added[0]}^"))) as archive:
        archive.extractall(folder, filter="data")
    return str(newest.down_revision)


def git(*arguments: str) -> bytes:
    return subprocess.run(["git", *arguments], cwd=PROJECT, capture_output=True).stdout


@pytest.mark.long
def test_a_worker_of_the_version_before_runs_a_job_through_the_migration(
    database_url: str, empty_valkey_url: str, tmp_path: Path
) -> None:
    old_code = tmp_path / "before"
    revision = code_before_the_newest_migration(old_code)
    world = quick_world(database_url, tmp_path / "home", sampler_script="tests.factories:slow_pupil")
    job_id = world.submit(iterations=2)
    migrate(world.engine, revision, down=True)
    with platform(world, empty_valkey_url) as running:
        running.code = old_code
        old = (running.scheduler("old-scheduler"), running.worker("old-worker"))
        wait_until(lambda: "step_ended" in running.log("old-worker"), "the old worker does steps", 60)
        migrate(world.engine, "head")
        running.code = PROJECT
        ended = running.log("old-worker").count("step_ended")
        wait_until(lambda: running.log("old-worker").count("step_ended") > ended + 1, "it goes on", 60)
        running.scheduler("new-scheduler")
        running.worker("new-worker")
        wait_until(lambda: "step_ended" in running.log("new-worker"), "the new worker joins in", 60)
        for name in old:
            running.stop(name)
        running.wait_for(job_id, "succeeded")
        check(world, platform=running)


def migrate(engine: Engine, revision: str, *, down: bool = False) -> None:
    with engine.begin() as connection:
        (command.downgrade if down else command.upgrade)(alembic_config(connection), revision)
    engine.dispose()  # prepared statements know the old columns
