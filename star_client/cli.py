"""The `star` command."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from star_client import (
    cli_adapters,
    cli_answers,
    cli_candidates,
    cli_create,
    cli_data,
    cli_delete,
    cli_job_verbs,
    cli_jobs,
    cli_login,
    cli_rationales,
    cli_team,
    cli_verifiers,
)
from star_client.errors import StarError
from star_client.invocation import exit_status
from star_client.printing import print_error

HELP = """
Run STaR jobs on a platform.

The server and the key come from STAR_URL and STAR_API_KEY, else from the platform that runs in this folder
(star serve).

Exit status: 0 done; 1 the job failed; 2 wrong usage; 3 not found; 4 refused or invalid; 5 not authorised;
6 server unreachable or failing; 7 the job is paused, by somebody or with a diagnosis; 8 the job was
cancelled; 9 a download arrived damaged; 130 interrupted (the job goes on).
"""
PASSED_ON = {"allow_extra_args": True, "ignore_unknown_options": True}  # to the other program

app = typer.Typer(no_args_is_help=True, help=HELP, pretty_exceptions_enable=False, rich_markup_mode=None)
app.add_typer(cli_data.datasets, name="datasets")
app.add_typer(cli_data.prompt_sets, name="prompt-sets")
app.add_typer(cli_verifiers.verifiers, name="verifiers")
app.add_typer(cli_data.models, name="models")
app.add_typer(cli_data.presets, name="presets")
cli_jobs.jobs.command("create")(cli_create.create)
cli_jobs.jobs.command("fork")(cli_job_verbs.fork)
cli_jobs.jobs.command("regrade")(cli_job_verbs.regrade)
cli_jobs.jobs.command("coverage")(cli_job_verbs.coverage)
cli_jobs.jobs.command("curve")(cli_job_verbs.curve)
cli_jobs.jobs.command("retention")(cli_job_verbs.retention)
cli_jobs.jobs.command("training-set")(cli_job_verbs.training_set)
cli_jobs.jobs.command("pairs")(cli_job_verbs.preferences)
cli_jobs.jobs.command("never-solved")(cli_job_verbs.never_solved)
cli_jobs.jobs.command("delete")(cli_delete.delete_job)
cli_jobs.jobs.command("archive")(cli_delete.archive_job)
cli_jobs.jobs.command("unarchive")(cli_delete.unarchive_job)
cli_data.datasets.command("delete")(cli_delete.delete_dataset)
cli_data.datasets.command("archive")(cli_delete.archive_dataset)
cli_data.datasets.command("unarchive")(cli_delete.unarchive_dataset)
cli_data.prompt_sets.command("delete")(cli_delete.delete_prompt_set)
cli_team.projects.command("delete")(cli_delete.delete_project)
app.add_typer(cli_jobs.jobs, name="jobs")
app.command("iterations")(cli_jobs.list_iterations)
app.add_typer(cli_rationales.rationales, name="rationales")
app.command("answers")(cli_answers.list_answers)
app.command("candidates")(cli_candidates.list_candidates)
app.command("test-time")(cli_candidates.show_test_time)
app.add_typer(cli_adapters.adapters, name="adapters")
app.add_typer(cli_team.webhooks, name="webhooks")
app.add_typer(cli_team.keys, name="keys")
app.add_typer(cli_team.projects, name="projects")
app.command("usage")(cli_team.list_usage)
app.command("quota")(cli_team.show_quota)
app.command("audit")(cli_team.list_audit)
app.command("login")(cli_login.login)
app.command("logout")(cli_login.logout)
app.command("workers")(cli_team.list_workers)


@app.callback()
def connect(
    context: typer.Context,
    url: Annotated[str | None, typer.Option(help="The server, in place of STAR_URL.")] = None,
) -> None:
    context.obj = url


@app.command()
def serve(port: Annotated[int, typer.Option(min=1, max=65535)] = 8000) -> None:
    """Run the whole platform on this machine, in the folder .star, until Ctrl-C."""
    become("worker.embedded", "--port", str(port))


@app.command(context_settings=PASSED_ON)
def demo(context: typer.Context) -> None:
    """Run a whole job on the paper's addition task (in a checkout of the project)."""
    become("examples.addition.demo", *context.args)


@cli_data.models.command("add", context_settings=PASSED_ON, add_help_option=False)
def add_model(context: typer.Context) -> None:
    """Put a base model on this machine's allow-list: ORG/NAME[@REVISION] of a hub, or a FOLDER."""
    become("worker.hub", "add", *context.args)


@cli_data.models.command("check", context_settings=PASSED_ON, add_help_option=False)
def check_model(context: typer.Context) -> None:
    """Ask a base model 20 questions, before a job does: can it bootstrap from what it knows?"""
    become("worker.hub", "check", *context.args)


def become(module: str, *arguments: str) -> None:
    """Replace this process with another program of the project, by name: this package imports no
    platform code.
    """
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", module, *arguments])  # noqa: S606 - no shell is wanted


def main() -> None:
    try:
        app()
    except StarError as error:
        print_error(error, as_json="--json" in sys.argv)
        sys.exit(exit_status(error))


if __name__ == "__main__":
    main()
