"""star thoughts."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Annotated

import typer

from star_client.cli.invocation import AsJson, JobId, star
from star_client.cli.printing import Columns, print_all, shorten
from star_client.quality.thoughts import Thought

THOUGHT: Columns[Thought] = {
    "iteration": lambda one: one.iteration,
    "before": lambda one: shorten(one.before[-40:], 40),
    "thought": lambda one: shorten(one.thought, 30),
    "token": lambda one: shorten(one.token, 12),
    "gain": lambda one: round(one.gain, 4),
    "nll": lambda one: round(one.nll, 4),
}


def list_thoughts(
    context: typer.Context,
    job_id: JobId,
    iteration: Annotated[int | None, typer.Option(min=1)] = None,
    drawn: Annotated[
        bool | None, typer.Option("--drawn/--best", help="Drawn evenly, or with the largest gains.")
    ] = None,
    limit: Annotated[int, typer.Option(min=0, help="At most this many; 0: all.")] = 20,
    output: Annotated[
        Path | None, typer.Option(help="Write all of --iteration to this file: .jsonl or .parquet.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """What a job on documents thinks between tokens: the text, the thought, the token after it, the gain."""
    client = star(context)
    if output is not None:
        form = "parquet" if output.suffix == ".parquet" else "jsonl"
        typer.echo(client.thoughts.download(job_id, iteration or 1, output, format=form))
        return
    found = client.thoughts.every(job_id, iteration=iteration, drawn=drawn)
    print_all(islice(found, limit or None), THOUGHT, as_json)
