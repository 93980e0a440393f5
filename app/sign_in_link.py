"""The link with which `star serve` signs the person in who has started it: it works once.

Whoever can read `.star/api-key` could sign in anyway; the link only saves them from copying the key.
"""

from __future__ import annotations

import hmac
import secrets
from contextlib import suppress
from pathlib import Path

from app.keys import write_private

PARAMETER = "once"
_FILE = "sign-in-token"  # below home


def make_token(home: Path) -> str:
    """A token that `redeem` takes once, in place of the last one that was made."""
    token = secrets.token_urlsafe(32)
    write_private(home / _FILE, token + "\n")
    return token


def forget_token(home: Path) -> None:
    (home / _FILE).unlink(missing_ok=True)


def redeem(home: Path, token: str) -> str | None:
    """The key of the embedded mode for its token, which is then gone; None for any other text."""
    taken = home / f"{_FILE}.{secrets.token_hex(4)}"
    with suppress(OSError):
        if not hmac.compare_digest((home / _FILE).read_text().strip().encode(), token.encode()):
            return None
        (home / _FILE).rename(taken)  # of two requests at once only one gets it
        taken.unlink()
        return (home / "api-key").read_text().strip()
    return None
