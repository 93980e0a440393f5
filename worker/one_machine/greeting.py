"""What `star serve` tells the person who has started it: where to look, the key, what to do next."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from app.sign_in_link import PARAMETER


def greeting(url: str, token: str, home: Path, models: Collection[str]) -> str:
    """One fact a line. `home` is absolute; `models` are the ids that jobs may use."""
    first = (
        "star datasets upload questions.jsonl --kind numeric --validation 200, or upload in the dashboard"
        if models
        else "add a base model, then start this again: star models add ORG/NAME, or a FOLDER"
    )
    lines = {
        "Dashboard": f"{url}/dashboard/sign-in?{PARAMETER}={token}  (signs you in, once, within an hour)",
        "API": f"{url}/docs, for commands in this folder and for STAR_URL={url}",
        "Key": str(home / "api-key"),
        "Models": ", ".join(sorted(models)) or "none yet",
        "Logs": str(home / "logs"),
        "Next": first,
        "Stop": "Ctrl-C; jobs go on where they were at the next start",
    }
    return "STaR is running.\n\n" + "".join(f"  {name:10}{text}\n" for name, text in lines.items())
