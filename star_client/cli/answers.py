"""star answers."""

from __future__ import annotations

from itertools import islice
from typing import Annotated

import typer

from star_client.cli.invocation import AsJson, JobId, star
from star_client.cli.printing import Columns, print_all, print_text, shorten
from star_client.objects_results import HeldOutAnswer
from star_client.resources import LARGEST_PAGE

ANSWER: Columns[HeldOutAnswer] = {
    "iteration": lambda one: one.iteration,
    "mode": lambda one: one.mode,
    "example": lambda one: one.example.id,
    "verdict": lambda one: one.verdict,
    "changed": lambda one: one.changed,
    "extracted": lambda one: one.extracted,
    "answer": lambda one: one.example.answer,
    "text": lambda one: shorten(one.text, 40),
}


def list_answers(
    context: typer.Context,
    job_id: JobId,
    iteration: Annotated[int | None, typer.Option(min=0, help="0 for the few-shot baselines.")] = None,
    mode: Annotated[str | None, typer.Option(help="few_shot_direct, few_shot_cot or adapter")] = None,
    verdict: Annotated[str | None, typer.Option(help="correct, wrong, unparsed, ambiguous or error")] = None,
    changed: Annotated[str | None, typer.Option(help="gained or lost, against --against")] = None,
    against: Annotated[
        str | None, typer.Option(help="few_shot_cot, few_shot_direct or an iteration; else few-shot.")
    ] = None,
    example: Annotated[str | None, typer.Option(help="All answers to this example.")] = None,
    dataset: Annotated[str | None, typer.Option(help="One of evaluation.also.")] = None,
    limit: Annotated[int, typer.Option(min=0, help="At most this many; 0: all.")] = 20,
    full: Annotated[bool, typer.Option("--full", help="Whole texts, one below the other.")] = False,
    as_json: AsJson = False,
) -> None:
    """What the baselines and each iteration answered to held-out examples."""
    filters = {
        "limit": min(limit or LARGEST_PAGE, LARGEST_PAGE),
        "iteration": iteration,
        "mode": mode,
        "verdict": verdict,
        "changed": changed,
        "against": against,
        "example": example,
        "dataset": dataset,
    }
    found = islice(star(context).answers.every(job_id, **filters), limit or None)
    if full and not as_json:
        for one in found:
            _print_full(one)
        return
    print_all(found, ANSWER, as_json)


def _print_full(one: HeldOutAnswer) -> None:
    who = one.mode.replace("_", " ") if one.iteration == 0 else f"iteration {one.iteration}"
    title = f"{one.example.id}, {who}: {one.verdict}"
    print_text(title, f"{one.example.whole_question}\nright: {one.example.answer}")
    print_text("answered", one.text.strip())
    if one.against is not None:
        print_text(f"compared with, {one.against.verdict}", one.against.text.strip())
    print_text("", " ")
