"""The `star` command."""

from __future__ import annotations

import os
import sys
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Annotated

import typer

from star_client.cli import (
    adapters,
    answers,
    candidates,
    create,
    data,
    delete,
    job_verbs,
    jobs,
    login,
    rationales,
    verifiers,
)
from star_client.cli.invocation import exit_status, star
from star_client.cli.printing import print_error
from star_client.cli.project import team, webhooks
from star_client.cli.quality import advice, probes, prompt_drafts, review, search, shares, studies, thoughts
from star_client.errors import StarError
from star_client.mirrors.commands import mirror
from star_client.money import commands as money

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
app.add_typer(data.datasets, name="datasets")
app.add_typer(data.prompt_sets, name="prompt-sets")
app.add_typer(data.prompt_sets, name="prompts", hidden=True)  # a shorter name
app.add_typer(verifiers.verifiers, name="verifiers")
app.add_typer(data.models, name="models")
app.add_typer(data.presets, name="presets")
jobs.jobs.command("create")(create.create)
jobs.jobs.command("probe")(probes.show_probe)
jobs.jobs.command("fork")(job_verbs.fork)
jobs.jobs.command("describe")(job_verbs.describe)
jobs.jobs.command("regrade")(job_verbs.regrade)
jobs.jobs.command("logs")(job_verbs.logs)
jobs.jobs.command("coverage")(job_verbs.coverage)
jobs.jobs.command("examples")(job_verbs.examples)
jobs.jobs.command("curve")(job_verbs.curve)
jobs.jobs.command("advice")(advice.advice)
jobs.jobs.command("share")(shares.share)
jobs.jobs.command("retention")(job_verbs.retention)
jobs.jobs.command("training-set")(job_verbs.training_set)
jobs.jobs.command("pairs")(job_verbs.preferences)
jobs.jobs.command("never-solved")(job_verbs.never_solved)
jobs.jobs.command("delete")(delete.delete_job)
jobs.jobs.command("archive")(delete.archive_job)
jobs.jobs.command("unarchive")(delete.unarchive_job)
data.datasets.command("delete")(delete.delete_dataset)
data.datasets.command("archive")(delete.archive_dataset)
data.datasets.command("unarchive")(delete.unarchive_dataset)
data.prompt_sets.command("draft")(prompt_drafts.draft)
data.prompt_sets.command("delete")(delete.delete_prompt_set)
team.projects.command("delete")(delete.delete_project)
app.add_typer(jobs.jobs, name="jobs")
app.command("iterations")(jobs.list_iterations)
app.add_typer(rationales.rationales, name="rationales")
app.command("answers")(answers.list_answers)
app.command("search")(search.search)
app.command("candidates")(candidates.list_candidates)
app.command("test-time")(candidates.show_test_time)
app.command("thoughts")(thoughts.list_thoughts)
app.add_typer(adapters.adapters, name="adapters")
app.add_typer(review.review, name="review")
app.add_typer(studies.studies, name="studies")
app.add_typer(webhooks.webhooks, name="webhooks")
app.add_typer(team.keys, name="keys")
app.add_typer(team.projects, name="projects")
app.command("usage")(team.list_usage)
app.command("bill")(money.project_bill)
jobs.jobs.command("bill")(money.job_bill)
app.command("quota")(team.show_quota)
app.command("data-retention")(team.data_retention)
app.command("sharing")(shares.sharing)
app.command("audit")(team.list_audit)
app.command("login")(login.login)
app.command("logout")(login.logout)
app.command("workers")(team.list_workers)
app.command("mirror")(mirror)
app.command("release-worker")(team.release_worker)


def print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"star {_version()}")
        raise typer.Exit


def _version() -> str:
    """Of the platform, which holds this package, or of the client that was installed without it."""
    try:
        return version("star-service")
    except PackageNotFoundError:
        return f"{version('star-client')} (client alone)"


@app.callback()
def connect(
    context: typer.Context,
    url: Annotated[str | None, typer.Option(help="The server, in place of STAR_URL.")] = None,
    _version: Annotated[
        bool, typer.Option("--version", callback=print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    context.obj = url


@app.command()
def serve(port: Annotated[int, typer.Option(min=1, max=65535)] = 8000) -> None:
    """Run the whole platform on this machine, in the folder .star, until Ctrl-C."""
    become("worker.embedded", "--port", str(port))


@app.command(context_settings=PASSED_ON)
def demo(context: typer.Context) -> None:
    """Run a whole job on the paper's addition task, with a tiny base model of its own."""
    become("examples.addition.demo", *context.args)


@app.command("mcp")
def serve_agents(context: typer.Context) -> None:
    """Offer the platform to agents as tools, over standard input and output (Model Context Protocol)."""
    if find_spec("mcp") is None:
        raise StarError("The package mcp is missing: pip install mcp")
    from star_client.interop.agents import make_server

    make_server(star(context)).run()


@data.models.command("add", context_settings=PASSED_ON, add_help_option=False)
def add_model(context: typer.Context) -> None:
    """Put a base model on this machine's allow-list: ORG/NAME[@REVISION] of a hub, or a FOLDER."""
    become("worker.hub", "add", *context.args)


@data.models.command("check", context_settings=PASSED_ON, add_help_option=False)
def check_model(context: typer.Context) -> None:
    """Ask a base model 20 questions, before a job does: can it bootstrap from what it knows?"""
    become("worker.hub", "check", *context.args)


@data.datasets.command("from-hub", context_settings=PASSED_ON, add_help_option=False)
def dataset_from_hub(context: typer.Context) -> None:
    """Upload a split of a hub's dataset: hf:ORG/NAME[@REVISION][/CONFIG]/SPLIT[+SPLIT] --kind KIND."""
    become("worker.hub.datasets", *context.args, url=context.find_root().obj)


@adapters.adapters.command("push", context_settings=PASSED_ON, add_help_option=False)
def push_adapter(context: typer.Context) -> None:
    """Put an adapter with its card on a hub: ADAPTER ORG/NAME [--public]. The token is HF_TOKEN."""
    become("worker.hub.push", "adapter", *context.args, url=context.find_root().obj)


@jobs.jobs.command("push", context_settings=PASSED_ON, add_help_option=False)
def push_training_set(context: typer.Context) -> None:
    """Put a training set with its card on a hub: JOB ITERATION ORG/NAME [--public]. The token is HF_TOKEN."""
    become("worker.hub.push", "training-set", *context.args, url=context.find_root().obj)


def become(module: str, *arguments: str, url: str | None = None) -> None:
    """Replace this process with another program of the project, by name: this package imports no
    platform code. -P: a folder app/ of the user's own is not taken for the platform's. `url`: of the
    server, for a program that asks it.
    """
    if url is not None:
        os.environ["STAR_URL"] = url
    if find_spec(module.partition(".")[0]) is None:
        needed = StarError("This command runs the platform's code. Install it: pip install star-service")
        print_error(needed, as_json="--json" in arguments)
        sys.exit(2)
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-P", "-m", module, *arguments])  # noqa: S606 - no shell is wanted


def main() -> None:
    try:
        app()
    except StarError as error:
        print_error(error, as_json="--json" in sys.argv)
        sys.exit(exit_status(error))


if __name__ == "__main__":
    main()
