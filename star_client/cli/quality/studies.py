"""star studies: blind comparisons of rationales."""

from __future__ import annotations

from typing import Annotated

import typer

from star_client.cli.invocation import AsJson, JobId, Limit, star
from star_client.cli.printing import Columns, console, moment, print_all, print_one, print_text
from star_client.quality.studies import Study, WinRate

studies = typer.Typer(no_args_is_help=True, help="Blind studies of rationales.")
StudyId = Annotated[str, typer.Argument(metavar="STUDY", help="Id of a study: std_...")]
CHOICES = {"a": "first", "b": "second", "t": "tie"}

STUDY: Columns[Study] = {
    "id": lambda one: one.id,
    "name": lambda one: one.name,
    "job": lambda one: one.job,
    "iteration": lambda one: one.iteration,
    "questions": lambda one: one.questions,
    "pairs": lambda one: one.pairs,
    "ratings": lambda one: one.result.ratings,
    "raters": lambda one: one.result.raters,
    "agree": lambda one: one.result.agreement.percent,
    "kappa": lambda one: one.result.agreement.kappa,
    "created": lambda one: moment(one.created_at),
}
WIN_RATE: Columns[WinRate] = {
    "preferred": lambda one: f"{one.arm} to {one.over}".replace("_", "-"),
    "rate": lambda one: one.rate,
    "95 % interval": lambda one: one.interval and f"{one.interval.low:.3f} to {one.interval.high:.3f}",
    "wins": lambda one: one.wins,
    "losses": lambda one: one.losses,
    "ties": lambda one: one.ties,
    "p": lambda one: one.p_value,
}


@studies.command("create")
def create(
    context: typer.Context,
    job_id: JobId,
    name: Annotated[str | None, typer.Option()] = None,
    iteration: Annotated[int | None, typer.Option(min=1, help="Left out: the best one.")] = None,
    arm: Annotated[list[str] | None, typer.Option(help="few_shot, star or human; left out: all.")] = None,
    questions: Annotated[int, typer.Option(min=1, max=500)] = 50,
    wrong_too: Annotated[bool, typer.Option("--wrong-too", help="Questions answered wrong, too.")] = False,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    as_json: AsJson = False,
) -> None:
    """Pair what a job wrote to held-out questions with few-shot prompting and people."""
    made = star(context).studies.create(
        job_id,
        name=name,
        iteration=iteration,
        arms=arm,
        questions=questions,
        only_right=not wrong_too,
        seed=seed,
    )
    print_one(made, STUDY, as_json)


@studies.command("list")
def list_studies(
    context: typer.Context,
    job: Annotated[str | None, typer.Option(help="Only of this job.")] = None,
    limit: Limit = 20,
    as_json: AsJson = False,
) -> None:
    print_all(star(context).studies.list(job=job, limit=limit).data, STUDY, as_json)


@studies.command("get")
def get(context: typer.Context, study_id: StudyId, as_json: AsJson = False) -> None:
    """What the raters prefer so far."""
    found = star(context).studies.get(study_id)
    print_one(found, STUDY, as_json)
    if not as_json:
        print_all(found.result.win_rates, WIN_RATE, as_json)


@studies.command("rate")
def rate(
    context: typer.Context,
    study_id: StudyId,
    rater: Annotated[str | None, typer.Option(help="Left out: whose key it is.")] = None,
) -> None:
    """Rate pair after pair: a, b, t for neither, q to stop."""
    client = star(context).studies
    while (turn := client.next(study_id, rater=rater)).pair is not None:
        pair = turn.pair
        print_text(f"{turn.left} left. Question", f"{pair.question}\nanswer: {pair.answer}")
        print_text("A", pair.first)
        print_text("B", pair.second)
        said = typer.prompt("Which is better? [a, b, t: neither, q: stop]").strip().lower()
        if said == "q":
            return
        if said in CHOICES:
            client.rate(study_id, pair.number, CHOICES[said], rater=rater)
    console.print("All pairs are rated.")


@studies.command("delete")
def delete(context: typer.Context, study_id: StudyId) -> None:
    """Delete a study with its ratings."""
    star(context).studies.delete(study_id)
