from __future__ import annotations

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, inspect, text
from sqlalchemy.exc import OperationalError

from app.database import make_engine
from app.tables.base import Base
from tests.databases import PROJECT, alembic_config
from tests.platforms import wait_until

INDEX = """
from migrations.indexes import build_index, remove_index

revision, down_revision, branch_labels, depends_on = "index", "{head}", None, None


def upgrade():
    build_index("ix_projects_name_id", "projects", ["name", "id"])


def downgrade():
    remove_index("ix_projects_name_id", "projects")
"""
COLUMN = """
from alembic import op
import sqlalchemy as sa

revision, down_revision, branch_labels, depends_on = "column", "{head}", None, None


def upgrade():
    op.add_column("projects", sa.Column("colour", sa.Text()))


def downgrade():
    op.drop_column("projects", "colour")
"""
NEW_PROJECT = text("INSERT INTO projects (id, name, created_at) VALUES (:name, :name, CURRENT_TIMESTAMP)")
PROMPT_SETS = [
    ("mine", "numeric"),
    ("to draft numeric examples", "numeric"),
    ("no few-shot examples", "documents"),
    ("no few-shot examples", "numeric"),
]
NEW_PROMPT_SET = text(
    "INSERT INTO prompt_sets (id, project_id, name, kind, examples, sha256, created_at)"
    " VALUES (:id, 'p', :name, :kind, '[]', :id, CURRENT_TIMESTAMP)"
)
BUILDING = text(
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    " AND query LIKE 'CREATE INDEX CONCURRENTLY%' AND wait_event_type = 'Lock'"
)
IS_VALID = text("SELECT indisvalid FROM pg_index WHERE indexrelid = 'ix_projects_name_id'::regclass")
INVALIDATE = text("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'ix_projects_name_id'::regclass")


def head() -> str:
    newest = ScriptDirectory(str(PROJECT / "migrations")).get_current_head()
    assert newest is not None
    return newest


def with_revision(source: str, folder: Path, engine: Engine) -> Config:
    """The project's migrations and one more, on an engine as `alembic upgrade` runs them."""
    scripts = shutil.copytree(PROJECT / "migrations", folder / "migrations")
    (scripts / "versions" / "one_more.py").write_text(source.format(head=head()))
    config = Config(toml_file=str(PROJECT / "pyproject.toml"))
    config.set_main_option("script_location", str(scripts))
    config.attributes["connection"] = engine
    return config


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    made = make_engine(request.getfixturevalue(f"{request.param}_database_url"))
    yield made
    made.dispose()


@pytest.fixture
def postgresql(postgresql_database_url: str) -> Iterator[Engine]:
    made = make_engine(postgresql_database_url)
    yield made
    made.dispose()


def revision_of(engine: Engine) -> str:
    with engine.connect() as connection:
        return str(connection.scalar(text("SELECT version_num FROM alembic_version")))


def test_the_migrations_end_in_one_revision() -> None:
    assert len(ScriptDirectory(str(PROJECT / "migrations")).get_heads()) == 1


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


def test_prompt_sets_that_the_platform_has_recorded_for_drafts_are_no_longer_listed(engine: Engine) -> None:
    with engine.begin() as connection:
        command.downgrade(alembic_config(connection), "0068")
        connection.execute(NEW_PROJECT, {"name": "p"})
        for number, (name, kind) in enumerate(PROMPT_SETS):
            connection.execute(NEW_PROMPT_SET, {"id": f"ps_{number}", "name": name, "kind": kind})
        command.upgrade(alembic_config(connection), "head")
        listed = connection.scalars(text("SELECT name FROM prompt_sets WHERE listed ORDER BY id")).all()
    assert listed == ["mine", "no few-shot examples"]


def test_a_revision_on_an_engine_builds_and_removes_its_index(engine: Engine, tmp_path: Path) -> None:
    config = with_revision(INDEX, tmp_path, engine)
    command.upgrade(config, "head")
    assert "ix_projects_name_id" in {one["name"] for one in inspect(engine).get_indexes("projects")}
    command.downgrade(config, "-1")
    assert "ix_projects_name_id" not in {one["name"] for one in inspect(engine).get_indexes("projects")}
    assert revision_of(engine) == head()


def test_rows_are_written_while_an_index_is_built(postgresql: Engine, tmp_path: Path) -> None:
    """The build waits for a transaction that was open before it, and nobody waits for the build."""
    config = with_revision(INDEX, tmp_path, postgresql)
    with ThreadPoolExecutor(1) as pool, postgresql.connect() as before:
        before.execute(NEW_PROJECT, {"name": "before"})
        building = pool.submit(command.upgrade, config, "head")
        wait_until(lambda: building.done() or counted(postgresql), "the build waits", 30)
        with postgresql.begin() as other:
            other.execute(NEW_PROJECT, {"name": "beside"})  # BOUNDS would end a wait
        assert not building.done()
        before.commit()
        building.result(timeout=30)
    with postgresql.connect() as connection:
        assert connection.scalar(IS_VALID) is True


def counted(engine: Engine) -> bool:
    with engine.connect() as connection:
        return bool(connection.scalar(BUILDING))


def test_an_index_that_a_stopped_build_left_invalid_is_replaced(postgresql: Engine, tmp_path: Path) -> None:
    with postgresql.begin() as connection:
        connection.execute(text("CREATE INDEX ix_projects_name_id ON projects (name)"))
        connection.execute(INVALIDATE)
        assert connection.scalar(IS_VALID) is False
    command.upgrade(with_revision(INDEX, tmp_path, postgresql), "head")
    with postgresql.connect() as connection:
        assert connection.scalar(IS_VALID) is True


def test_a_migration_gives_up_on_a_table_that_somebody_reads_for_long(
    postgresql: Engine, tmp_path: Path
) -> None:
    config = with_revision(COLUMN, tmp_path, postgresql)
    with postgresql.connect() as reader:
        reader.execute(text("SELECT * FROM projects"))
        with pytest.raises(OperationalError, match="lock timeout"):
            command.upgrade(config, "head")
    assert revision_of(postgresql) == head()
    command.upgrade(config, "head")
    assert revision_of(postgresql) == "column"
