"""Brings a database to the newest revision: `python -m app.migrations`, wherever the package is installed.

In a checkout `alembic upgrade head` does the same; without one there is no pyproject.toml to read.
"""

from __future__ import annotations

from pathlib import Path

import alembic.command
from alembic.config import Config

from app.settings import Settings

SCRIPTS = Path(__file__).resolve().parent.parent / "migrations"


def migrate(database_url: str) -> None:
    """Upgrade to head, one transaction a revision. Done already, it changes nothing."""
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    config.attributes["url"] = database_url
    alembic.command.upgrade(config, "head")


if __name__ == "__main__":
    migrate(Settings().resolved_database_url())
