"""star review: kept rationales that a person should look at first."""

from __future__ import annotations

from typing import Annotated

import typer

from star_client.cli.invocation import AsJson, JobId, star
from star_client.cli.printing import Columns, console, print_all, print_text, shorten
from star_client.quality.review import QueuedRationale

review = typer.Typer(no_args_is_help=True, help="Kept rationales by risk: accept or drop them.")
Iteration = Annotated[int | None, typer.Option(min=1, help="Left out: the newest that has a training set.")]
Raters = Annotated[int, typer.Option(min=1, max=20, help="People who are to judge each text.")]

QUEUED: Columns[QueuedRationale] = {
    "id": lambda one: one.id,
    "risk": lambda one: one.risk.risk,
    "luck": lambda one: one.risk.luck,
    "disagreement": lambda one: one.risk.disagreement,
    "right tries": lambda one: f"{one.risk.right} of {one.risk.tries}",
    "second opinion": lambda one: one.risk.second_opinion,
    "route": lambda one: one.route,
    "example": lambda one: one.example.id,
    "text": lambda one: shorten(one.text, 40),
}


@review.command("list")
def list_queue(
    context: typer.Context,
    job_id: JobId,
    iteration: Iteration = None,
    raters: Raters = 1,
    limit: Annotated[int, typer.Option(min=1, max=100, help="At most this many.")] = 20,
    as_json: AsJson = False,
) -> None:
    """What waits for you, the riskiest first."""
    found = star(context).reviews.queue(job_id, iteration=iteration, raters=raters, limit=limit)
    print_all(found.data, QUEUED, as_json)


@review.command("walk")
def walk(context: typer.Context, job_id: JobId, iteration: Iteration = None, raters: Raters = 1) -> None:
    """Read one text after another: a accepts, d drops, s skips, q stops."""
    client, skipped = star(context).reviews, None
    while found := client.queue(job_id, iteration=iteration, raters=raters, limit=1, after=skipped).data:
        [one] = found
        print_text(
            f"{one.id}, iteration {one.iteration}, {one.route}: risk {one.risk.risk:.3f} = luck "
            f"{one.risk.luck:.2f} x disagreement {one.risk.disagreement:.2f}; {one.risk.right} of "
            f"{one.risk.tries} tries right",
            f"{one.example.question}\nanswer: {one.example.answer}",
        )
        print_text("Rationale", one.text)
        said = typer.prompt("Keep it? [a: accept, d: drop, s: skip, q: stop]").strip().lower()
        if said == "q":
            return
        if said == "a":
            client.accept(job_id, one.id)
        elif said == "d":
            client.drop(job_id, one.id, typer.prompt("Why", default="Read and dropped."))
        elif said == "s":
            skipped = one.id
    console.print("Nothing waits for you.")
