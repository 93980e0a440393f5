"""star login, star logout: a person instead of a shared key."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from star_client.connection import find_url
from star_client.sign_in import keep_key, sign_in


def login(
    context: typer.Context,
    project: Annotated[str | None, typer.Option(help="Where you have a role in several projects.")] = None,
) -> None:
    """Sign in with the server's identity provider. The key that it gives lives for some hours."""
    url = find_url(context.find_root().obj)
    made = sign_in(url, project=project, show=_show)
    path = keep_key(url, made.key)
    sys.stdout.write(
        f"{made.person} may {made.scope} in the project {made.project} of {url} until {made.expires_at}.\n"
    )
    sys.stderr.write(f"The key is in {path}; STAR_API_KEY, where set, is used instead.\n")


def logout(context: typer.Context) -> None:
    """Forget the personal key of the server. It ends by itself; star keys revoke ends it at once."""
    keep_key(find_url(context.find_root().obj), None)


def _show(where: str, code: str) -> None:
    sys.stderr.write(f"Open {where} in a browser and compare the code {code}.\n")
