"""Projects and API keys. A key is `star_<id8>_<secret43>_<crc6>`; of the secret only its SHA-256 is kept.

The checksum refuses a mistyped key without asking the database, and lets secret scanners recognise a key.
"""

from __future__ import annotations

import re
import secrets
import string
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from hmac import compare_digest
from typing import Any
from zlib import crc32

from sqlalchemy import ColumnElement, Select, or_, select, tuple_
from sqlalchemy.orm import Session

from app.database import clock, new_id
from app.errors import NotFound
from app.tables.platform import ApiKey, Project

BASE62 = string.digits + string.ascii_letters
SECRET_LENGTH = 43  # 43 characters of 62 are 256 bits
_KEY = re.compile(r"star_([0-9A-Za-z]{8})_([0-9A-Za-z]{43})_([0-9A-Za-z]{6})")


class Scope(StrEnum):
    """What a key may do; each includes those before it."""

    READ = "read"
    SUBMIT = "submit"
    ADMIN = "admin"  # the keys and the audit log of its own project
    OPERATOR = "operator"  # the deployment: metrics, projects and their quotas, every project's keys

    def allows(self, wanted: Scope) -> bool:
        order = list(Scope)
        return order.index(self) >= order.index(wanted)


@dataclass(frozen=True, slots=True)
class Caller:
    """One key of one project, as authenticated."""

    project_id: str
    key_id: str
    scopes: frozenset[Scope]

    def may(self, wanted: Scope) -> bool:
        return any(scope.allows(wanted) for scope in self.scopes)


def create_project(session: Session, name: str) -> Project:
    """The project of this name, made if there is none."""
    known = session.scalars(select(Project).where(Project.name == name)).one_or_none()
    if known is not None:
        return known
    project = Project(id=new_id("proj"), name=name)
    session.add(project)
    session.flush()
    return project


def create_key(session: Session, project: Project, name: str, scopes: Iterable[Scope]) -> str:
    """Create a key that never expires and return it. It cannot be read again."""
    return issue_key(session, project.id, name, scopes)[1]


def issue_key(
    session: Session,
    project_id: str,
    name: str,
    scopes: Iterable[Scope],
    *,
    lives_seconds: float | None = None,
    replaces: str | None = None,
    person: str | None = None,
) -> tuple[ApiKey, str]:
    """Create a key; returns its row and the key, which cannot be read again.

    lives_seconds: None means that it never expires. person: whose it is, by the identity provider's subject.
    """
    key_id, secret = _random(8), _random(SECRET_LENGTH)
    row = ApiKey(
        id=f"key_{key_id}",
        project_id=project_id,
        name=name,
        secret_sha256=_hashed(secret),
        scopes=sorted({Scope(scope).value for scope in scopes}),
        expires_at=None if lives_seconds is None else clock(lives_seconds),
        replaces=replaces,
        person=person,
    )
    session.add(row)
    session.flush()
    session.refresh(row)
    body = f"star_{key_id}_{secret}"
    return row, f"{body}_{_checksum(body)}"


def authenticate(session: Session, key: str) -> Caller | None:
    """Return the caller of this key; None if it is malformed, unknown, revoked or expired."""
    return authenticate_all(session, [key]).get(key)


def authenticate_all(session: Session, keys: Collection[str]) -> dict[str, Caller]:
    """Return the callers by key, in one query; invalid keys are left out."""
    matches = {key: match for key in keys if (match := _KEY.fullmatch(key)) is not None}
    sent = {
        key: (f"key_{match[1]}", match[2])
        for key, match in matches.items()
        if _checksum(key[: match.end(2)]) == match[3]
    }
    if not sent:
        return {}
    query = _of_projects(
        select(ApiKey).where(ApiKey.id.in_({key_id for key_id, _ in sent.values()}), *_live())
    )
    rows = {row.id: row for row in session.scalars(query)}
    return {
        key: Caller(row.project_id, row.id, frozenset(Scope(scope) for scope in row.scopes))
        for key, (key_id, secret) in sent.items()
        if (row := rows.get(key_id)) is not None and compare_digest(row.secret_sha256, _hashed(secret))
    }


def valid_keys(session: Session, key_ids: Collection[str]) -> set[str]:
    """Return the ids of those keys that are neither revoked nor expired."""
    if not key_ids:
        return set()
    return set(session.scalars(_of_projects(select(ApiKey.id).where(ApiKey.id.in_(key_ids), *_live()))))


def _of_projects(query: Select[Any]) -> Select[Any]:
    """Without the keys of deleted projects."""
    return query.join(Project, Project.id == ApiKey.project_id)


def _live() -> tuple[ColumnElement[bool], ...]:
    return (ApiKey.revoked_at.is_(None), or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > clock()))


def revoke(session: Session, key_id: str) -> None:
    """The key is refused from the next request on. Revoking it twice changes nothing."""
    key = session.get_one(ApiKey, key_id)
    if key.revoked_at is None:
        key.revoked_at = clock()
    session.flush()


def rotate(session: Session, old: ApiKey, grace_seconds: float) -> tuple[ApiKey, str]:
    """A new key in the place of `old`, which works for `grace_seconds` more, but never longer than before.

    The new key may do the same and lives as long as the old one was made for.
    """
    lives = None if old.expires_at is None else (old.expires_at - old.created_at).total_seconds()
    made = issue_key(
        session,
        old.project_id,
        old.name,
        map(Scope, old.scopes),
        lives_seconds=lives,
        replaces=old.id,
        person=old.person,
    )
    end = session.scalars(select(clock(grace_seconds))).one()
    old.expires_at = end if old.expires_at is None else min(end, old.expires_at)
    session.flush()
    return made


def find_key(session: Session, caller: Caller, key_id: str) -> ApiKey:
    """A key that this caller may see: of its own project, for an operator of any; else NotFound."""
    row = session.get(ApiKey, key_id)
    if row is None or not (row.project_id == caller.project_id or caller.may(Scope.OPERATOR)):
        raise NotFound(f"There is no API key {key_id}.")
    return row


def list_keys(session: Session, project_id: str, *, after: ApiKey | None, limit: int) -> Sequence[ApiKey]:
    """Newest first, the revoked and expired too."""
    age = tuple_(ApiKey.created_at, ApiKey.id)
    query = select(ApiKey).where(ApiKey.project_id == project_id)
    if after is not None:
        query = query.where(age < (after.created_at, after.id))
    newest = query.order_by(ApiKey.created_at.desc(), ApiKey.id.desc())
    return session.scalars(newest.limit(limit)).all()


def _random(length: int) -> str:
    return "".join(secrets.choice(BASE62) for _ in range(length))


def _hashed(secret: str) -> str:
    return sha256(secret.encode()).hexdigest()


def _checksum(body: str) -> str:
    number, digits = crc32(body.encode()), ""
    for _ in range(6):  # 62^6 > 2^32
        number, digit = divmod(number, 62)
        digits = BASE62[digit] + digits
    return digits
