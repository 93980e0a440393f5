"""Secrets of webhooks and graders, derived from one secret of the deployment: none is stored (ADR 7)."""

from __future__ import annotations

import base64
import hmac
import os
import secrets
from datetime import datetime
from hashlib import sha256
from pathlib import Path

from standardwebhooks import Webhook as Signer

from app.errors import Unavailable
from app.settings import Settings

FILE = "webhook-secret"


def server_secret(settings: Settings) -> bytes:
    """STAR_WEBHOOK_SECRET; in the embedded mode a file under home, made at first use.

    Raises Unavailable where several machines share a database: a file of each would sign differently.
    """
    if settings.webhook_secret:
        return settings.webhook_secret.encode()
    if settings.database_url:
        raise Unavailable(
            "This deployment sends no webhooks: its operator has not set STAR_WEBHOOK_SECRET.",
            code="webhooks_not_set_up",
        )
    path = settings.home / FILE
    if not path.exists():
        _make(path)
    return path.read_bytes()


def webhook_secret(server: bytes, webhook_id: str, version: int) -> str:
    """`whsec_` and the base64 of 32 bytes, as libraries of standardwebhooks.com take it."""
    return _derived(server, f"webhook:{webhook_id}:{version}")


def grader_secret(server: bytes, project_id: str) -> str:
    """The same, for what a project's graders are sent (kind `remote`)."""
    return _derived(server, f"grader:{project_id}:1")


def _derived(server: bytes, name: str) -> str:
    derived = hmac.new(server, name.encode(), sha256).digest()
    return f"whsec_{base64.b64encode(derived).decode()}"


def signature_headers(own_secrets: list[str], message_id: str, moment: datetime, body: str) -> dict[str, str]:
    """The three headers of Standard Webhooks: one signature per secret, so that old and new both verify."""
    signatures = [Signer(secret).sign(message_id, moment, body) for secret in own_secrets]
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(moment.timestamp())),
        "webhook-signature": " ".join(signatures),
    }


def _make(path: Path) -> None:
    """Create the file atomically, readable by its owner only; the first creator wins."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(secrets.token_hex(32))
    try:
        path.hardlink_to(part)
    except FileExistsError:
        pass
    finally:
        part.unlink()
