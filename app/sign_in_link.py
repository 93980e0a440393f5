"""The link with which `star serve` signs the person in who has started it: it works once.

Whoever can read `.star/api-key` could sign in anyway; the link only saves them from copying the key.
"""

from __future__ import annotations

import hmac
import secrets
import time
from contextlib import suppress
from pathlib import Path

from app.platform.private_files import write_private

PARAMETER = "once"
SECONDS = 3600.0  # that a link lives: it stays on a screen, and in what is recorded of one
_FILE = "sign-in-token"  # below home


def make_token(home: Path) -> str:
    """A token that `redeem` takes once, in place of the last one that was made."""
    token = secrets.token_urlsafe(32)
    write_private(home / _FILE, token + "\n")
    return token


def forget_token(home: Path) -> None:
    (home / _FILE).unlink(missing_ok=True)


def redeem(home: Path, token: str) -> str | None:
    """The key of the embedded mode for its token, which is then gone. None: it is old, or another text."""
    kept, taken = home / _FILE, home / f"{_FILE}.{secrets.token_hex(4)}"
    with suppress(OSError):
        if not hmac.compare_digest(kept.read_text().strip().encode(), token.encode()):
            return None
        if time.time() - kept.stat().st_mtime > SECONDS:
            return None
        kept.rename(taken)  # of two requests at once only one gets it
        taken.unlink()
        return (home / "api-key").read_text().strip()
    return None
