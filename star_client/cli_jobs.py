"""star jobs, star iterations, star rationales."""

from __future__ import annotations

import sys
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from star_client.client import StarClient
from star_client.invocation import (
    INTERRUPTED,
    OUTCOMES,
    AsJson,
    JobId,
    Limit,
    parse_yaml,
    read_yaml,
    star,
)
from star_client.jobs import ReportFormat
from star_client.objects import Job, Rationale
from star_client.printing import (
    Columns,
    console,
    moment,
    print_all,
    print_json,
    print_one,
    print_rationale,
    shorten,
)
from star_client.resources import LARGEST_PAGE
from star_client.watch import iteration_table, outcome, snapshots, watch_job

jobs = typer.Typer(no_args_is_help=True, help="STaR runs.")

JOB: Columns[Job] = {
    "id": lambda one: one.id,
    "name": lambda one: one.name,
    "status": lambda one: one.status,
    "iteration": lambda one: f"{one.iteration} of {one.iterations}",
    "accuracy": lambda one: one.best and one.best.accuracy,
    "created": lambda one: moment(one.created_at),
}
RATIONALE: Columns[Rationale] = {
    "id": lambda one: one.id,
    "iteration": lambda one: one.iteration,
    "example": lambda one: one.example.id,
    "route": lambda one: one.route,
    "verdict": lambda one: one.verdict,
    "decision": lambda one: one.decision,
    "reason": lambda one: one.reason,
    "extracted": lambda one: one.extracted,
    "answer": lambda one: one.example.answer,
    "text": lambda one: shorten(one.text, 40),
}


@jobs.command("create")
def create(
    context: typer.Context,
    model: Annotated[str, typer.Option(help="Id of a base model: star models list.")],
    dataset: Annotated[str, typer.Option(help="Id of a dataset.")],
    prompt_set: Annotated[str, typer.Option(help="Id of a prompt set.")],
    name: Annotated[str | None, typer.Option()] = None,
    preset: Annotated[str | None, typer.Option(help="Settings to start from; default: star.")] = None,
    config: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="YAML or JSON: changes to the preset.")
    ] = None,
    setting: Annotated[
        list[str] | None, typer.Option("--set", help="One change, as in --set training.lora.rank=32")
    ] = None,
    priority: Annotated[int | None, typer.Option()] = None,
    metadata: Annotated[list[str] | None, typer.Option(help="key=value, kept with the job.")] = None,
    idempotency_key: Annotated[
        str | None, typer.Option(help="The same key and the same job again make no second job.")
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Go on with star jobs watch.")] = False,
    as_json: AsJson = False,
) -> None:
    """Submit a job."""
    client = star(context)
    job = client.jobs.create(
        model=model,
        dataset=dataset,
        prompt_set=prompt_set,
        name=name,
        preset=preset,
        config=merged_config(config, setting or []),
        priority=priority,
        metadata=dict(split_pair(pair) for pair in metadata) if metadata else None,
        idempotency_key=idempotency_key,
    )
    if watch:
        follow(client, job.id, as_json)
    print_one(job, JOB, as_json)


@jobs.command("list")
def list_jobs(
    context: typer.Context,
    status: Annotated[str | None, typer.Option(help="Only those of this status.")] = None,
    limit: Limit = 20,
    as_json: AsJson = False,
) -> None:
    print_all(star(context).jobs.list(status=status, limit=limit).data, JOB, as_json)


@jobs.command("get")
def get(context: typer.Context, job_id: JobId, as_json: AsJson = False) -> None:
    job = star(context).jobs.get(job_id)
    print_one(job, JOB, as_json)
    if not as_json:
        console.print(outcome(job), soft_wrap=True)


@jobs.command("watch")
def watch_command(context: typer.Context, job_id: JobId, as_json: AsJson = False) -> None:
    """Follow a job until it has ended or is paused; the exit status says how. With --json: its events, one
    per line, and in the last line the job."""
    follow(star(context), job_id, as_json)


@jobs.command("cancel")
def cancel(context: typer.Context, job_id: JobId, as_json: AsJson = False) -> None:
    """Stop a job for good. What it has recorded stays."""
    print_one(star(context).jobs.cancel(job_id), JOB, as_json)


@jobs.command("pause")
def pause(context: typer.Context, job_id: JobId, as_json: AsJson = False) -> None:
    """Hold a job: workers hand back what they have."""
    print_one(star(context).jobs.pause(job_id), JOB, as_json)


@jobs.command("resume")
def resume(
    context: typer.Context,
    job_id: JobId,
    accept: Annotated[str | None, typer.Option(help="Why it paused itself: no_spark.")] = None,
    as_json: AsJson = False,
) -> None:
    """Go on with a paused job."""
    print_one(star(context).jobs.resume(job_id, accept), JOB, as_json)


@jobs.command("report")
def report(
    context: typer.Context,
    job_id: JobId,
    form: Annotated[ReportFormat, typer.Option("--format", help="What to write.")] = "markdown",
) -> None:
    """Did STaR help here, and how sure is that? Of a running job: what is known so far."""
    sys.stdout.write(star(context).jobs.report(job_id, form).rstrip("\n") + "\n")


def list_iterations(context: typer.Context, job_id: JobId, as_json: AsJson = False) -> None:
    """Solve rate, coverage, loss and held-out accuracy of each iteration."""
    found = star(context).jobs.iterations(job_id)
    if not as_json:
        console.print(iteration_table(found))
        return
    for iteration in found:
        print_json(iteration)


def list_rationales(
    context: typer.Context,
    job_id: JobId,
    iteration: Annotated[int | None, typer.Option(min=1)] = None,
    route: Annotated[str | None, typer.Option(help="generated, rationalized or given")] = None,
    verdict: Annotated[str | None, typer.Option(help="correct, wrong, unparsed, ambiguous or error")] = None,
    decision: Annotated[str | None, typer.Option(help="kept or dropped")] = None,
    reason: Annotated[str | None, typer.Option(help="Why it was dropped.")] = None,
    example: Annotated[str | None, typer.Option(help="All tries at this example.")] = None,
    limit: Annotated[int, typer.Option(min=0, help="At most this many, the oldest first; 0: all.")] = 20,
    show: Annotated[str | None, typer.Option(help="Show this one in full: rat_...")] = None,
    as_json: AsJson = False,
) -> None:
    """Every rationale that was sampled, and why it was kept or dropped."""
    client = star(context)
    if show is not None:
        found = client.rationales.get(job_id, show)
        return print_json(found) if as_json else print_rationale(found)
    filters = {
        "limit": min(limit or LARGEST_PAGE, LARGEST_PAGE),
        "iteration": iteration,
        "route": route,
        "verdict": verdict,
        "decision": decision,
        "reason": reason,
        "example": example,
    }
    return print_all(islice(client.rationales.every(job_id, **filters), limit or None), RATIONALE, as_json)


def follow(client: StarClient, job_id: str, as_json: bool) -> NoReturn:
    """Watch, and exit with the status that the job's end stands for."""
    try:
        job = follow_json(client, job_id) if as_json else watch_job(client, job_id, console)
    except KeyboardInterrupt:
        sys.stderr.write(f"The job goes on. See it again: star jobs watch {job_id}\n")
        raise typer.Exit(INTERRUPTED) from None
    if not as_json:
        console.print(outcome(job), soft_wrap=True)
    raise typer.Exit(OUTCOMES.get(job.status, 0))


def follow_json(client: StarClient, job_id: str) -> Job:
    for snapshot in snapshots(client, job_id):
        for event in snapshot.events:
            print_json(event)
    print_json(snapshot.job)
    return snapshot.job


def merged_config(file: Path | None, settings: list[str]) -> dict[str, Any] | None:
    """The file's settings with those of --set laid over them; None: no changes to the preset."""
    config = read_yaml(file) if file is not None else {}
    if not isinstance(config, dict):
        raise typer.BadParameter(f"{file} must hold settings by name.", param_hint="--config")
    for setting in settings:
        dotted, value = split_pair(setting)
        *path, last = dotted.split(".")
        section = config
        for name in path:
            section = section.setdefault(name, {})
            if not isinstance(section, dict):
                raise typer.BadParameter(f"{name} is no section.", param_hint="--set")
        section[last] = parse_yaml(value, "--set")
    return config or None


def split_pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise typer.BadParameter(f"{text!r} is not of the form name=value.")
    return name, value
