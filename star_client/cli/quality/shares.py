"""star jobs share, star sharing."""

from __future__ import annotations

from typing import Annotated

import typer

from star_client.cli import completion
from star_client.cli.invocation import AsJson, star
from star_client.cli.printing import Columns, console, moment, print_all, print_json, print_one
from star_client.quality.shares import Share, Sharing

SHARE: Columns[Share] = {
    "id": lambda one: one.id,
    "job": lambda one: one.job,
    "note": lambda one: one.note,
    "created": lambda one: moment(one.created_at),
    "expires": lambda one: moment(one.expires_at),
    "revoked": lambda one: one.revoked_at and moment(one.revoked_at),
}
SHARING: Columns[Sharing] = {"links to reports": lambda one: "allowed" if one.allowed else "forbidden"}


def share(
    context: typer.Context,
    job_id: Annotated[
        str | None, typer.Argument(metavar="[JOB]", help="Id of a job.", autocompletion=completion.jobs)
    ] = None,
    days: Annotated[int, typer.Option(min=1, max=365, help="After these the link leads nowhere.")] = 30,
    note: Annotated[str | None, typer.Option(help="For whom it is.")] = None,
    listed: Annotated[
        bool, typer.Option("--list", help="List the links of the job, or of the project.")
    ] = False,
    revoke: Annotated[str | None, typer.Option(metavar="SHARE", help="End this link: shr_...")] = None,
    as_json: AsJson = False,
) -> None:
    """Make a link that shows a job's report to everybody who has it, without a key."""
    shares = star(context).shares
    if revoke is not None:
        return print_one(shares.revoke(revoke), SHARE, as_json)
    if listed:
        return print_all(shares.every(job=job_id), SHARE, as_json)
    if job_id is None:
        raise typer.BadParameter("Name the job whose report is shown.", param_hint="JOB")
    made = shares.create(job_id, expires_in_days=days, note=note)
    if as_json:
        return print_json(made)
    console.print(made.url, soft_wrap=True)
    return console.print(
        f"Shows the report until {moment(made.expires_at)} UTC; this address is not stored. "
        f"To end it: star jobs share --revoke {made.id}",
        soft_wrap=True,
    )


def sharing(
    context: typer.Context,
    allow: Annotated[
        bool | None, typer.Option("--allow/--forbid", help="Needs a key with the scope admin.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show, or set, whether the project allows links to reports. Forbidden, none of them leads anywhere."""
    shares = star(context).shares
    found = shares.allowed()
    if allow is not None:
        found = shares.allow(allow, if_match=found.etag)
    print_one(found, SHARING, as_json)
