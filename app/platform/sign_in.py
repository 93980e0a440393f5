"""Signing in as a person: with the organisation's provider, for a personal key that lives for some hours."""

from __future__ import annotations

from typing import Annotated, Literal

import structlog
from fastapi import Depends, Request
from pydantic import BaseModel, Field
from sqlalchemy import Engine

from app.database import transaction
from app.errors import NotFound
from app.http.schemas import In, Name, Text, Timestamp
from app.ledger.platform.keys import create_project, issue_key
from app.platform.oidc import Person, Provider, place_of
from app.settings import Settings

log = structlog.get_logger()


async def _identity_provider(request: Request) -> Provider | None:
    found: Provider | None = request.app.state.identity_provider
    return found


IdentityProvider = Annotated[Provider | None, Depends(_identity_provider)]  # None: there is none


class SignInOut(BaseModel):
    object: Literal["sign_in"] = "sign_in"
    issuer: str


class DeviceOut(BaseModel):
    """Show the person `user_code` and `verification_uri`, and ask with `device_code` until they are done."""

    object: Literal["sign_in.device"] = "sign_in.device"
    device_code: str
    user_code: str
    verification_uri: str
    verification_uri_complete: str | None
    expires_in: int
    interval: Annotated[int, Field(description="Seconds to wait between two questions.")]


class DeviceTokenIn(In):
    device_code: Annotated[Text, Field(max_length=4000)]
    project: Name | None = None  # needed by who has a role in several


class PersonalKeyOut(BaseModel):
    object: Literal["sign_in.key"] = "sign_in.key"
    status: Literal["pending", "done"]
    key: Annotated[str | None, Field(description="The key itself, shown this once; null while pending.")] = (
        None
    )
    person: str | None = None
    project: str | None = None
    scope: str | None = None
    expires_at: Timestamp | None = None


def needed_provider(provider: Provider | None) -> Provider:
    """Raises NotFound where people sign in with API keys alone."""
    if provider is None:
        raise NotFound(
            "People sign in with API keys here: the operator has set no STAR_OIDC_ISSUER.", code="no_oidc"
        )
    return provider


def start_device(provider: Provider | None) -> DeviceOut:
    return DeviceOut.model_validate(needed_provider(provider).start_device(), from_attributes=True)


def finish_device(
    db: Engine, provider: Provider | None, settings: Settings, sent: DeviceTokenIn
) -> PersonalKeyOut:
    """The personal key of whoever has finished this sign-in, or that nobody has yet."""
    person = needed_provider(provider).person_of_device(sent.device_code)
    if person is None:
        return PersonalKeyOut(status="pending")
    return personal_key(db, settings, person, sent.project)


def personal_key(db: Engine, settings: Settings, person: Person, project: str | None) -> PersonalKeyOut:
    """A key in the person's name that may do what their groups say. Raises Forbidden or Conflict."""
    name, scope = place_of(person, settings.oidc_roles, project)
    with transaction(db) as session:
        where = create_project(session, name)
        row, key = issue_key(
            session,
            where.id,
            person.label,
            [scope],
            lives_seconds=settings.oidc_key_seconds,
            person=person.subject,
        )
        log.info("signed_in", project_id=where.id, key_id=row.id, scope=scope.value)
        return PersonalKeyOut(
            status="done",
            key=key,
            person=person.label,
            project=name,
            scope=scope.value,
            expires_at=row.expires_at,
        )
