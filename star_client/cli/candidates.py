"""star test-time and star candidates."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Annotated

import typer

from star_client.candidates import Candidate, TestTimeCurves
from star_client.cli.invocation import AsJson, JobId, star
from star_client.cli.printing import Columns, print_all, print_text, shorten
from star_client.resources import LARGEST_PAGE

CANDIDATE: Columns[Candidate] = {
    "iteration": lambda one: one.iteration,
    "example": lambda one: one.example.id,
    "sample": lambda one: one.sample,
    "verdict": lambda one: one.verdict,
    "extracted": lambda one: one.extracted,
    "answer": lambda one: one.example.answer,
    "logprob": lambda one: round(one.scores["generator"].logprob, 2) if "generator" in one.scores else None,
    "text": lambda one: shorten(one.text, 40),
}


def show_test_time(context: typer.Context, job_id: JobId, as_json: AsJson = False) -> None:
    """Accuracy over k answers to a question: pass@k, pass^k, majority vote, best of k."""
    for one in star(context).jobs.test_time(job_id):
        if as_json:
            print_all([one], {}, as_json)
        else:
            _print_curves(one)


def _print_curves(one: TestTimeCurves) -> None:
    who = f"iteration {one.iteration}" if one.iteration else "base model"
    print_text(f"{who}, {one.n} questions", "".join(f"{f'k={k}':>8}" for k in one.ks))
    for name, points in one.curves.items():
        print_text(f"  {name}", "".join(f"{100 * point.value:>7.1f}%" for point in points))


def list_candidates(
    context: typer.Context,
    job_id: JobId,
    iteration: Annotated[int | None, typer.Option(min=0, help="0: the base model.")] = None,
    verdict: Annotated[str | None, typer.Option(help="correct, wrong, unparsed, ambiguous or error")] = None,
    example: Annotated[str | None, typer.Option(help="All answers to this example.")] = None,
    limit: Annotated[int, typer.Option(min=0, help="At most this many; 0: all.")] = 20,
    output: Annotated[
        Path | None, typer.Option(help="Write all of --iteration to this file: .jsonl or .parquet.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """The many answers to held-out questions of a job with evaluation.test_time."""
    client = star(context)
    if output is not None:
        form = "parquet" if output.suffix == ".parquet" else "jsonl"
        typer.echo(client.candidates.download(job_id, iteration or 0, output, format=form))
        return
    filters = {
        "limit": min(limit or LARGEST_PAGE, LARGEST_PAGE),
        "iteration": iteration,
        "verdict": verdict,
        "example": example,
    }
    print_all(islice(client.candidates.every(job_id, **filters), limit or None), CANDIDATE, as_json)
