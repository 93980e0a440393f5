"""Making API keys: at the first start of the embedded mode, and by hand.

python -m app.keys create --project NAME --scope submit
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy import Engine

from app.database import make_engine, reading, transaction
from app.ledger.platform.keys import Scope, authenticate, create_key, create_project, revoke
from app.platform.private_files import write_private
from app.settings import Settings

DEFAULT_PROJECT = "default"

cli = typer.Typer(no_args_is_help=True, help="API keys of the platform in STAR_DATABASE_URL.")


def ensure_default_key(engine: Engine, home: Path) -> str:
    """The key in `home/api-key`, of project "default" and with all scopes; made where none works."""
    path = home / "api-key"
    if path.exists():
        key = path.read_text().strip()
        with reading(engine) as session:
            if authenticate(session, key) is not None:
                return key
    with transaction(engine) as session:
        key = create_key(session, create_project(session, DEFAULT_PROJECT), "embedded", Scope)
    write_private(path, key + "\n")
    return key


@cli.command("create")
def create(
    project: Annotated[str, typer.Option(help="Made if there is none of this name.")],
    scope: Annotated[Scope, typer.Option(help="read < submit < admin")] = Scope.SUBMIT,
    name: Annotated[str, typer.Option(help="What the key is for.")] = "",
) -> None:
    """Make a key and print it. It cannot be shown again."""
    with transaction(make_engine(Settings().resolved_database_url())) as session:
        key = create_key(session, create_project(session, project), name or f"{project} {scope}", [scope])
    typer.echo(key)


@cli.command("revoke")
def revoke_key(key_id: Annotated[str, typer.Argument(help="key_ and the 8 characters after star_.")]) -> None:
    """Refuse a key from now on."""
    with transaction(make_engine(Settings().resolved_database_url())) as session:
        revoke(session, key_id)
    typer.echo(f"{key_id} is revoked.")


if __name__ == "__main__":
    cli()
