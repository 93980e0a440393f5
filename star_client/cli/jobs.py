"""The commands `star jobs` and `star iterations`; see also create.py and job_verbs.py."""

from __future__ import annotations

import sys
from typing import Annotated, NoReturn

import typer

from star_client.cli.invocation import (
    INTERRUPTED,
    OUTCOMES,
    Accept,
    AsJson,
    JobId,
    JobOrder,
    JobStatus,
    Limit,
    star,
)
from star_client.cli.printing import (
    Columns,
    console,
    moment,
    percent,
    print_all,
    print_json,
    print_one,
)
from star_client.cli.watch import iteration_table, outcome, snapshots, verdict_line, watch_job
from star_client.client import StarClient
from star_client.jobs import ReportFormat
from star_client.objects import Job

jobs = typer.Typer(no_args_is_help=True, help="STaR runs.")

JOB: Columns[Job] = {
    "id": lambda one: one.id,
    "name": lambda one: one.name,
    "status": lambda one: one.status,
    "iteration": lambda one: f"{one.iteration} of {one.iterations}",
    "accuracy": lambda one: one.best and percent(one.best.accuracy) + " inherited" * one.best.inherited,
    "created": lambda one: moment(one.created_at),
}


@jobs.command("list")
def list_jobs(
    context: typer.Context,
    status: Annotated[
        list[JobStatus] | None, typer.Option(help="Only those of this status, or these.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Only those of this name.")] = None,
    dataset: Annotated[str | None, typer.Option(help="Only those on this dataset.")] = None,
    archived: Annotated[bool, typer.Option("--archived", help="The archived ones only.")] = False,
    order: Annotated[JobOrder, typer.Option(help="What comes first.")] = JobOrder.NEWEST,
    limit: Limit = 20,
    as_json: AsJson = False,
) -> None:
    """The project's jobs."""
    found = star(context).jobs.list(
        status=status, name=name, dataset=dataset, archived=archived, order=order, limit=limit
    )
    print_all(found.data, JOB, as_json)


@jobs.command("get")
def get(context: typer.Context, job_id: JobId, as_json: AsJson = False) -> None:
    """One job, and how it ended."""
    client = star(context)
    job = client.jobs.get(job_id)
    print_one(job, JOB, as_json)
    if not as_json:
        _print_outcome(client, job)


@jobs.command("watch")
def watch_command(context: typer.Context, job_id: JobId, as_json: AsJson = False) -> None:
    """Follow a job until it has ended or is paused; the exit status says how. With --json: its events, one
    per line, and in the last line the job."""
    follow(star(context), job_id, as_json)


@jobs.command("cancel")
def cancel(
    context: typer.Context,
    job_id: JobId,
    baselines: Annotated[bool, typer.Option("--baselines", help="Cancel its baselines, too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Cancel a job for good. Everything recorded stays."""
    print_one(star(context).jobs.cancel(job_id, baselines=baselines), JOB, as_json)


@jobs.command("pause")
def pause(context: typer.Context, job_id: JobId, as_json: AsJson = False) -> None:
    """Hold a job: workers hand back what they have."""
    print_one(star(context).jobs.pause(job_id), JOB, as_json)


@jobs.command("resume")
def resume(
    context: typer.Context,
    job_id: JobId,
    accept: Annotated[Accept | None, typer.Option(help="Why it paused itself.")] = None,
    as_json: AsJson = False,
) -> None:
    """Resume a paused job."""
    print_one(star(context).jobs.resume(job_id, accept), JOB, as_json)


@jobs.command("retry")
def retry(context: typer.Context, job_id: JobId, as_json: AsJson = False) -> None:
    """Go on with a failed job from the step that failed."""
    print_one(star(context).jobs.retry(job_id), JOB, as_json)


@jobs.command("report")
def report(
    context: typer.Context,
    job_id: JobId,
    form: Annotated[ReportFormat, typer.Option("--format", help="What to write.")] = "markdown",
    compare: Annotated[list[str] | None, typer.Option(help="Another job to hold it against.")] = None,
) -> None:
    """Print whether STaR helped, with intervals. For a running job: the results so far."""
    text = star(context).jobs.report(job_id, form, compare=compare or ())
    sys.stdout.write(text.rstrip("\n") + "\n")


def list_iterations(context: typer.Context, job_id: JobId, as_json: AsJson = False) -> None:
    """Solve rate, coverage, loss and held-out accuracy of each iteration."""
    found = star(context).jobs.iterations(job_id)
    if not as_json:
        console.print(iteration_table(found))
        return
    for iteration in found:
        print_json(iteration)


def follow(client: StarClient, job_id: str, as_json: bool) -> NoReturn:
    """Watch the job, and exit with the status that its end means."""
    try:
        job = follow_json(client, job_id) if as_json else watch_job(client, job_id, console)
    except KeyboardInterrupt:
        sys.stderr.write(f"The job goes on. See it again: star jobs watch {job_id}\n")
        raise typer.Exit(INTERRUPTED) from None
    if not as_json:
        _print_outcome(client, job)
    raise typer.Exit(OUTCOMES.get(job.status, 0))


def _print_outcome(client: StarClient, job: Job) -> None:
    console.print(outcome(job), soft_wrap=True)
    if job.best is not None:
        console.print(verdict_line(client.jobs.answer(job.id)), soft_wrap=True)


def follow_json(client: StarClient, job_id: str) -> Job:
    for snapshot in snapshots(client, job_id):
        for event in snapshot.events:
            print_json(event)
    print_json(snapshot.job)
    return snapshot.job
