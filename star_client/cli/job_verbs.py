"""star jobs fork, regrade, examples, coverage, curve, retention, never-solved, training-set, pairs."""

from __future__ import annotations

import sys
from itertools import islice
from pathlib import Path
from typing import Annotated, Literal

import typer

from star_client.cli.create import (
    DRY_RUN,
    Config,
    DryRunOnly,
    Metadata,
    OneKey,
    Setting,
    merged_config,
    pairs,
)
from star_client.cli.data import DATASET
from star_client.cli.invocation import AsJson, IfMatch, JobId, star
from star_client.cli.jobs import JOB
from star_client.cli.printing import (
    Columns,
    console,
    moment,
    percent,
    print_all,
    print_json,
    print_one,
    shorten,
)
from star_client.jobs import ExportFormat, TrainingSetFormat
from star_client.objects import LogLine
from star_client.objects_results import Coverage, CurveStep, ExampleProgress, Flip, RegradedIteration

COVERAGE: Columns[Coverage] = {
    "iteration": lambda one: one.iteration,
    "solved": lambda one: percent(one.solve_rate),
    "coverage": lambda one: one.coverage and percent(one.coverage.get("total")),
    "newly solved": lambda one: one.churn and one.churn.get("newly_solved"),
    "forgotten": lambda one: one.churn and one.churn.get("forgotten"),
    "never solved": lambda one: one.churn and one.churn.get("never"),
}
EXAMPLE: Columns[ExampleProgress] = {
    "example": lambda one: one.id,
    "state": lambda one: one.state,
    "since": lambda one: one.since,
    "tried in": lambda one: one.iterations,
    "right": lambda one: f"{one.right} of {one.tries}",
    "with hint": lambda one: f"{one.hinted_right} of {one.hinted}",
    "trained in": lambda one: one.trained,
    "question": lambda one: shorten(one.example.question, 40),
}
CURVE: Columns[CurveStep] = {
    "step": lambda one: one.step,
    "loss": lambda one: f"{one.loss:.4f}",
    "gradient norm": lambda one: f"{one.grad_norm:.4f}",
    "learning rate": lambda one: f"{one.learning_rate:.3g}",
    "tokens": lambda one: one.step_tokens,
}
REGRADED: Columns[RegradedIteration] = {
    "iteration": lambda one: one.iteration,
    "tries": lambda one: one.tries,
    "verdicts": lambda one: flips(one.verdicts),
    "decisions": lambda one: flips(one.decisions),
    "kept": lambda one: f"{sum(one.recorded.kept.values())} -> {sum(one.regraded.kept.values())}",
}
Form = Annotated[ExportFormat, typer.Option("--format", help="What to write.")]
NewFile = Annotated[Path, typer.Argument(dir_okay=False, help="Where to write it.")]
LOG: Columns[LogLine] = {
    "when": lambda one: moment(one.created_at),
    "iteration": lambda one: one.iteration,
    "phase": lambda one: one.phase,
    "step": lambda one: one.shard,
    "attempt": lambda one: one.attempt,
    "level": lambda one: one.level,
    "text": lambda one: one.text,
}


def flips(found: tuple[Flip, ...]) -> str:
    return ", ".join(f"{one.count} {one.before} -> {one.after}" for one in found) or "none"


def logs(
    context: typer.Context,
    job_id: JobId,
    level: Annotated[
        Literal["info", "warning", "error"], typer.Option(help="This level and those above it.")
    ] = "info",
    phase: Annotated[str | None, typer.Option(help="Such as sample or train.")] = None,
    iteration: Annotated[int | None, typer.Option(min=0)] = None,
    as_json: AsJson = False,
) -> None:
    """How each claim of a job's steps ended, oldest first; with stack traces for operators."""
    found = list(star(context).jobs.logs(job_id, level=level, phase=phase, iteration=iteration))
    print_all(found, LOG, as_json)
    if not as_json:
        for line in found:
            if line.trace is not None:
                console.print(
                    f"\n{line.id}, {line.phase}, attempt {line.attempt}:\n{line.trace}", markup=False
                )


def fork(
    context: typer.Context,
    job_id: JobId,
    from_iteration: Annotated[int, typer.Option("--from", min=0, help="The last one taken over.")],
    config: Config = None,
    setting: Setting = None,
    name: Annotated[str | None, typer.Option()] = None,
    priority: Annotated[int | None, typer.Option()] = None,
    metadata: Metadata = None,
    dry_run: DryRunOnly = False,
    idempotency_key: OneKey = None,
    as_json: AsJson = False,
) -> None:
    """Create a new job that continues from an iteration of a job with other settings."""
    changes = merged_config(config, setting or [])
    if dry_run:
        found = star(context).jobs.dry_run_of_fork(
            job_id, from_iteration, config=changes, name=name, priority=priority
        )
        return print_one(found, DRY_RUN, as_json)
    made = star(context).jobs.fork(
        job_id,
        from_iteration,
        config=changes,
        name=name,
        priority=priority,
        metadata=pairs(metadata),
        idempotency_key=idempotency_key,
    )
    return print_one(made, JOB, as_json)


def describe(
    context: typer.Context,
    job_id: JobId,
    name: Annotated[str | None, typer.Option(help="Its new name.")] = None,
    metadata: Metadata = None,
    remove: Annotated[list[str] | None, typer.Option(help="An entry of its metadata to remove.")] = None,
    if_match: IfMatch = None,
    as_json: AsJson = False,
) -> None:
    """Rename a job, or change its metadata: tags and notes of yours."""
    changed = {**(pairs(metadata) or {}), **dict.fromkeys(remove or ())}
    found = star(context).jobs.update(job_id, name=name, metadata=changed or None, if_match=if_match)
    print_one(found, JOB, as_json)


def regrade(
    context: typer.Context,
    job_id: JobId,
    kind: Annotated[str | None, typer.Option(help="Another verifier.")] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", help="As in --set training_set.max_per_example=1 or verifier.pattern=..."),
    ] = None,
    iteration: Annotated[int | None, typer.Option(min=1, help="Only this one.")] = None,
    as_json: AsJson = False,
) -> None:
    """What another verifier or other filters would have made of its rationales. Changes nothing."""
    settings = merged_config(None, setting or []) or {}
    if unknown := settings.keys() - {"verifier", "training_set"}:
        raise typer.BadParameter(f"{min(unknown)} is neither verifier nor training_set.", param_hint="--set")
    found = star(context).jobs.regrade(job_id, iteration=iteration or "all", kind=kind, **settings)
    if as_json:
        return print_json(found)
    return print_all(found.iterations, REGRADED, as_json)


def coverage(context: typer.Context, job_id: JobId, as_json: AsJson = False) -> None:
    """What each iteration solved, covered, forgot and never solved."""
    print_all(star(context).jobs.coverage(job_id), COVERAGE, as_json)


def examples(
    context: typer.Context,
    job_id: JobId,
    state: Annotated[
        str | None, typer.Option(help="solved, forgotten, unsolved, or suspect: probably a wrong answer key")
    ] = None,
    limit: Annotated[int, typer.Option(min=0, help="At most this many; 0: all.")] = 20,
    as_json: AsJson = False,
) -> None:
    """What the model still fails of the train examples, since when, and how often it was tried."""
    found = star(context).jobs.examples(job_id, state=state)
    print_all(islice(found, limit or None), EXAMPLE, as_json)


def curve(
    context: typer.Context,
    job_id: JobId,
    iteration: Annotated[int, typer.Argument(min=1)],
    csv: Annotated[bool, typer.Option("--csv", help="All steps as CSV.")] = False,
    as_json: AsJson = False,
) -> None:
    """Loss, gradient norm, learning rate and tokens of each optimizer step of a training."""
    client = star(context)
    if csv:
        sys.stdout.write(client.jobs.curve_csv(job_id, iteration))
        return
    print_all(client.jobs.curve(job_id, iteration).steps, CURVE, as_json)


def retention(
    context: typer.Context,
    job_id: JobId,
    keep_last: Annotated[int | None, typer.Option(min=0, help="The newest so many; default: all.")] = None,
    keep_best: Annotated[bool, typer.Option(help="The most accurate one too.")] = True,
    days: Annotated[float | None, typer.Option(help="After its end; then none is kept.")] = None,
    if_match: IfMatch = None,
    as_json: AsJson = False,
) -> None:
    """Which adapters to keep once the job has ended. Pinned ones stay."""
    changed = star(context).jobs.retention(
        job_id, keep_last=keep_last, keep_best=keep_best, days=days, if_match=if_match
    )
    print_one(changed, JOB, as_json)


def training_set(
    context: typer.Context,
    job_id: JobId,
    iteration: Annotated[int, typer.Argument(min=1)],
    file: NewFile,
    form: Annotated[
        TrainingSetFormat, typer.Option("--format", help="messages: conversations, as JSONL.")
    ] = "jsonl",
) -> None:
    """Download what the adapter of an iteration was trained on."""
    written = star(context).jobs.download_training_set(job_id, iteration, file, format=form)
    console.print(str(written), soft_wrap=True)


def preferences(
    context: typer.Context,
    job_id: JobId,
    iteration: Annotated[int, typer.Argument(min=1)],
    file: NewFile,
    shape: Annotated[Literal["dpo", "kto"], typer.Option(help="What reads it: TRL's DPO or KTO.")] = "dpo",
) -> None:
    """Download what an iteration kept beside the wrong tries at the same question."""
    written = star(context).jobs.download_pairs(job_id, iteration, file, shape=shape)
    console.print(str(written), soft_wrap=True)


def never_solved(
    context: typer.Context,
    job_id: JobId,
    file: Annotated[Path | None, typer.Argument(dir_okay=False, help="Left out: make a dataset.")] = None,
    form: Form = "jsonl",
    as_json: AsJson = False,
) -> None:
    """Download the examples that a job never solved, or make a dataset of them."""
    client = star(context)
    if file is None:
        return print_one(client.never_solved.derive(job_id), DATASET, as_json)
    written = client.never_solved.download(job_id, file, format=form)
    return console.print(str(written), soft_wrap=True)
