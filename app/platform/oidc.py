"""People sign in with their organisation's identity provider (OpenID Connect); off without STAR_OIDC_ISSUER.

What the provider says of a person becomes a personal API key that lives for some hours: everything after that
is as for any other key, so whoever made a job or reviewed a text is a person by name.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from app.errors import Conflict, Forbidden, Unavailable
from app.ledger.platform.keys import Scope
from app.settings import Settings

if TYPE_CHECKING:  # imported at the first sign-in: most deployments have none
    from authlib.integrations.requests_client import OAuth2Session

CALLBACK = "/dashboard/oidc/callback"
ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
KNOWN_SECONDS = 3600.0  # for which the provider's addresses and keys are not asked for again
TIMEOUT_SECONDS = 10.0
LEEWAY_SECONDS = 60  # by which its clock may differ from this one
MAX_LABEL = 200


@dataclass(frozen=True, slots=True)
class Person:
    """Who signed in, as the provider says."""

    subject: str
    label: str  # "Ada Lovelace <ada@example.org>": the name of the personal key
    groups: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Device:
    """What a command shows to the person who runs it, and what it asks with until they are done."""

    device_code: str
    user_code: str
    verification_uri: str
    verification_uri_complete: str | None
    expires_in: int
    interval: int


class Provider:
    """The organisation's identity provider. Safe to use from several threads."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._known: tuple[float, dict[str, Any], dict[str, Any]] | None = None

    def authorization_url(self, state: str, nonce: str, verifier: str) -> str:
        """Where the browser goes to sign in."""
        with self._session() as session:
            url, _ = session.create_authorization_url(
                self._metadata()["authorization_endpoint"], state=state, code_verifier=verifier, nonce=nonce
            )
        return str(url)

    def person_of_code(self, code: str, verifier: str, nonce: str) -> Person:
        """Who came back from the provider with this code. Raises Forbidden."""
        token = self._token(grant_type="authorization_code", code=code, code_verifier=verifier)
        return self._person(str(token.get("id_token", "")), nonce)

    def start_device(self) -> Device:
        """Begins a sign-in that is finished in a browser elsewhere (RFC 8628)."""
        endpoint = self._metadata().get("device_authorization_endpoint")
        if endpoint is None:
            raise Forbidden(
                "The identity provider offers no sign-in for commands (device flow).", code="no_device_flow"
            )
        with self._session() as session:
            asked = {"client_id": self._settings.oidc_client_id, "scope": self._settings.oidc_scope}
            found = _answered(session, "POST", endpoint, data=asked)
        return Device(
            device_code=found["device_code"],
            user_code=found["user_code"],
            verification_uri=found["verification_uri"],
            verification_uri_complete=found.get("verification_uri_complete"),
            expires_in=int(found["expires_in"]),
            interval=int(found.get("interval", 5)),
        )

    def person_of_device(self, device_code: str) -> Person | None:
        """Who has finished this sign-in; None while nobody has. Raises Forbidden if it is refused or over."""
        token = self._token(grant_type=DEVICE_GRANT, device_code=device_code)
        return None if not token else self._person(str(token.get("id_token", "")), None)

    def _token(self, **grant: str) -> Mapping[str, Any]:
        from authlib.integrations.base_client import OAuthError
        from requests import RequestException

        endpoint = self._metadata()["token_endpoint"]
        try:
            with self._session() as session:
                token: Mapping[str, Any] = session.fetch_token(endpoint, **grant)
        except OAuthError as refused:
            if refused.error in ("authorization_pending", "slow_down"):
                return {}
            raise Forbidden(
                f"The identity provider refused the sign-in: {refused.error}.", code="sign_in_refused"
            ) from refused
        except (RequestException, ValueError) as failure:
            raise _away(failure) from failure
        return token

    def _person(self, id_token: str, nonce: str | None) -> Person:
        """Check signature, issuer, audience, times and nonce of an id token. Raises Forbidden."""
        from joserfc import jwt
        from joserfc.errors import JoseError
        from joserfc.jwk import KeySet

        wanted: dict[str, Any] = {
            "iss": {"essential": True, "value": self._metadata()["issuer"]},
            "aud": {"essential": True, "value": self._settings.oidc_client_id},
            "sub": {"essential": True},
            "exp": {"essential": True},
        }
        if nonce is not None:
            wanted["nonce"] = {"essential": True, "value": nonce}
        try:
            claims = jwt.decode(id_token, KeySet.import_key_set(self._keys()), algorithms=ALGORITHMS).claims  # type: ignore[arg-type]
            jwt.JWTClaimsRegistry(leeway=LEEWAY_SECONDS, **wanted).validate(claims)
        except (JoseError, ValueError) as wrong:
            self._known = None  # its keys may be new ones
            raise Forbidden(
                "The identity provider's answer is not valid. Sign in again.", code="sign_in_refused"
            ) from wrong
        return _person_of(claims, self._settings.oidc_groups_claim)

    def _metadata(self) -> dict[str, Any]:
        return self._discovered()[0]

    def _keys(self) -> dict[str, Any]:
        return self._discovered()[1]

    def _discovered(self) -> tuple[dict[str, Any], dict[str, Any]]:
        known = self._known
        if known is None or time.monotonic() > known[0]:
            issuer = self._settings.oidc_issuer.rstrip("/")
            with self._session() as session:
                metadata = _answered(session, "GET", f"{issuer}/.well-known/openid-configuration")
                if str(metadata.get("issuer", "")).rstrip("/") != issuer:
                    raise _away(ValueError("the issuer is another"))
                keys = _answered(session, "GET", metadata["jwks_uri"])
            self._known = known = (time.monotonic() + KNOWN_SECONDS, metadata, keys)
        return known[1], known[2]

    def _session(self) -> OAuth2Session:
        from authlib.integrations.requests_client import OAuth2Session

        settings = self._settings
        return OAuth2Session(
            settings.oidc_client_id,
            settings.oidc_client_secret or None,
            token_endpoint_auth_method="client_secret_basic" if settings.oidc_client_secret else "none",
            scope=settings.oidc_scope,
            redirect_uri=f"{settings.public_url.rstrip('/')}{CALLBACK}",
            code_challenge_method="S256",
            default_timeout=TIMEOUT_SECONDS,
        )


def place_of(person: Person, roles: Mapping[str, str], project: str | None) -> tuple[str, Scope]:
    """The project that the person works in and what they may do there: the most that any group gives them.

    `roles`: group to `project:scope`. Raises Forbidden where they have none, Conflict where they must choose.
    """
    found: dict[str, Scope] = {}
    for group in person.groups:
        name, _, scope = roles.get(group, "").rpartition(":")
        if name and (name not in found or Scope(scope).allows(found[name])):
            found[name] = Scope(scope)
    if project is not None and project in found:
        return project, found[project]
    if not found or project is not None:
        where = "any project" if project is None else f"the project {project}"
        raise Forbidden(f"None of your groups gives you a role in {where}. Ask an operator.", code="no_role")
    if len(found) > 1:
        names = ", ".join(sorted(found))
        raise Conflict(
            f"You have a role in several projects: choose one of {names}.", code="several_projects"
        )
    return next(iter(found.items()))


def _person_of(claims: Mapping[str, Any], groups_claim: str) -> Person:
    subject = str(claims["sub"])
    name = claims.get("name") or claims.get("preferred_username")
    email = claims.get("email") if claims.get("email_verified", True) else None
    label = f"{name} <{email}>" if name and email else str(name or email or subject)
    groups = claims.get(groups_claim, ())
    listed: Iterable[Any] = groups if isinstance(groups, list) else [groups] if groups else []
    return Person(subject, label[:MAX_LABEL], tuple(map(str, listed)))


def _answered(session: OAuth2Session, method: str, url: str, **more: Any) -> dict[str, Any]:
    from requests import RequestException

    try:
        answer = session.request(method, url, withhold_token=True, **more)
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
    except (RequestException, ValueError) as failure:
        raise _away(failure) from failure
    return found


def _away(failure: Exception) -> Unavailable:
    return Unavailable(
        f"The identity provider does not answer as it should ({type(failure).__name__}). Try again soon.",
        code="identity_provider_away",
    )
