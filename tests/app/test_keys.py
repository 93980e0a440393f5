"""API keys: what they look like, what is kept of them, when they stop working, how the first one is made."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, select, update
from typer.testing import CliRunner

from app.database import make_engine, reading, transaction
from app.keys import cli, ensure_default_key
from app.ledger.platform.keys import BASE62, Scope, authenticate, create_key, create_project, revoke
from app.tables.platform import ApiKey, Project


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = make_engine(database_url)
    yield engine
    engine.dispose()


@pytest.fixture
def key(engine: Engine) -> str:
    with transaction(engine) as session:
        return create_key(session, create_project(session, "team"), "laptop", [Scope.SUBMIT])


def is_valid(engine: Engine, key: str) -> bool:
    with reading(engine) as session:
        return authenticate(session, key) is not None


def test_key_belongs_to_its_project_and_includes_the_lesser_scope(engine: Engine, key: str) -> None:
    with reading(engine) as session:
        caller = authenticate(session, key)
        project = session.scalars(select(Project)).one()
    assert caller is not None
    assert caller.project_id == project.id
    assert [caller.may(scope) for scope in Scope] == [True, True, False, False]


def test_secret_is_not_in_the_database(engine: Engine, key: str) -> None:
    star, id8, secret, checksum = key.split("_")
    assert (star, len(id8), len(secret), len(checksum)) == ("star", 8, 43, 6)
    with reading(engine) as session:
        row = session.scalars(select(ApiKey)).one()
        kept = " ".join(str(value) for value in vars(row).values())
    assert row.id == f"key_{id8}"
    assert secret not in kept


def test_every_single_mistyped_character_is_refused(engine: Engine, key: str) -> None:
    assert is_valid(engine, key)
    for place in range(len(key)):
        other = BASE62[(BASE62.find(key[place]) + 1) % len(BASE62)]
        assert not is_valid(engine, key[:place] + other + key[place + 1 :])
    assert not is_valid(engine, key + "\n")
    assert not is_valid(engine, "")


def test_secret_of_another_key_is_refused(engine: Engine, key: str) -> None:
    with transaction(engine) as session:
        other = create_key(session, create_project(session, "team"), "server", [Scope.READ])
        session.execute(update(ApiKey).where(ApiKey.name == "server").values(secret_sha256="0" * 64))
    assert is_valid(engine, key)
    assert not is_valid(engine, other)


def test_revoked_and_expired_keys_are_refused_at_once(engine: Engine, key: str) -> None:
    with transaction(engine) as session:
        revoke(session, f"key_{key.split('_')[1]}")
    assert not is_valid(engine, key)
    now = datetime.now(UTC)
    for expires_at, valid in ((now + timedelta(hours=1), True), (now - timedelta(seconds=1), False)):
        with transaction(engine) as session:
            session.execute(update(ApiKey).values(revoked_at=None, expires_at=expires_at))
        assert is_valid(engine, key) is valid


def test_first_start_writes_a_key_that_only_its_owner_can_read(engine: Engine, tmp_path: Path) -> None:
    home = tmp_path / "home"
    key = ensure_default_key(engine, home)
    assert stat.S_IMODE((home / "api-key").stat().st_mode) == 0o600
    assert (home / "api-key").read_text().strip() == key
    with reading(engine) as session:
        caller = authenticate(session, key)
    assert caller is not None
    assert caller.may(Scope.OPERATOR)


def test_later_starts_keep_the_key_while_it_works(engine: Engine, tmp_path: Path) -> None:
    key = ensure_default_key(engine, tmp_path)
    assert ensure_default_key(engine, tmp_path) == key
    with transaction(engine) as session:
        revoke(session, f"key_{key.split('_')[1]}")
    renewed = ensure_default_key(engine, tmp_path)
    assert renewed != key
    assert is_valid(engine, renewed)
    with reading(engine) as session:
        assert session.scalars(select(Project.name)).all() == ["default"]


def test_command_makes_and_revokes_a_key(
    engine: Engine, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAR_DATABASE_URL", database_url)
    made = CliRunner().invoke(cli, ["create", "--project", "team", "--scope", "read"])
    assert made.exit_code == 0, made.output
    key = made.stdout.strip()
    assert is_valid(engine, key)
    revoked = CliRunner().invoke(cli, ["revoke", f"key_{key.split('_')[1]}"])
    assert revoked.exit_code == 0, revoked.output
    assert not is_valid(engine, key)
