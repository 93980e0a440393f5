"""star search."""

from __future__ import annotations

from itertools import islice
from typing import Annotated

import typer

from star_client.cli.invocation import AsJson, star
from star_client.cli.printing import Columns, print_all, shorten
from star_client.quality.search import SearchHit

HIT: Columns[SearchHit] = {
    "id": lambda one: one.id,
    "in": lambda one: one.found_in,
    "job": lambda one: one.job,
    "iteration": lambda one: one.iteration,
    "example": lambda one: one.example,
    "verdict": lambda one: one.verdict,
    "text": lambda one: shorten(_around(one), 80),
}


def search(
    context: typer.Context,
    words: Annotated[
        list[str], typer.Argument(help="All of them stand in the text; quote what belongs together.")
    ],
    found_in: Annotated[
        str | None, typer.Option("--in", help="Only in texts of this kind: rationale, answer or question.")
    ] = None,
    verdict: Annotated[str | None, typer.Option(help="correct, wrong, unparsed, ambiguous or error")] = None,
    job: Annotated[str | None, typer.Option(help="Only texts of this job.")] = None,
    limit: Annotated[int, typer.Option(min=0, help="At most this many, the newest first; 0: all.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Find words in the texts of all jobs: rationales, answers to held-out questions, and questions."""
    text = " ".join(f'"{word}"' if " " in word else word for word in words)
    found = star(context).search.every(text, found_in=found_in, verdict=verdict, job=job)
    print_all(islice(found, limit or None), HIT, as_json)


def _around(one: SearchHit) -> str:
    """The snippet from shortly before its first mark on."""
    first = one.marks[0][0] if one.marks else 0
    return one.snippet[max(0, first - 20) :]
