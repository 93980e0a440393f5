"""Signing in as a person, for commands: open to everybody, counted by address."""

from __future__ import annotations

from fastapi import Response

from app.http.admission import SignInPlace
from app.http.dependencies import Config, Db
from app.http.router import api_router
from app.platform.sign_in import (
    DeviceOut,
    DeviceTokenIn,
    IdentityProvider,
    PersonalKeyOut,
    SignInOut,
    finish_device,
    needed_provider,
    start_device,
)

router = api_router("sign in", "/v1/sign-in")


@router.get("", summary="Get the identity provider that people sign in with")
def get(_: SignInPlace, settings: Config, provider: IdentityProvider) -> SignInOut:
    """404 where people sign in with API keys alone."""
    needed_provider(provider)
    return SignInOut(issuer=settings.oidc_issuer)


@router.post("/device", summary="Begin a sign-in that is finished in a browser")
def device(_: SignInPlace, provider: IdentityProvider) -> DeviceOut:
    """The device flow of OAuth (RFC 8628), through this server: no command talks to the provider."""
    return start_device(provider)


@router.post("/device/token", summary="Ask whether a sign-in is finished, and get the personal key")
def token(
    _: SignInPlace,
    db: Db,
    settings: Config,
    provider: IdentityProvider,
    sent: DeviceTokenIn,
    response: Response,
) -> PersonalKeyOut:
    response.headers["Cache-Control"] = "no-store"
    return finish_device(db, provider, settings, sent)
