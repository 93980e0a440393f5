"""star jobs, datasets, prompt-sets, projects: delete, archive, unarchive."""

from __future__ import annotations

from typing import Annotated

import typer

from star_client.cli.data import DATASET, DatasetId, PromptSetId
from star_client.cli.invocation import AsJson, IfMatch, JobId, star
from star_client.cli.jobs import JOB
from star_client.cli.printing import print_one

Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask first.")]
ProjectId = Annotated[str, typer.Argument(metavar="PROJECT")]


def delete_job(
    context: typer.Context,
    job_id: JobId,
    baselines: Annotated[bool, typer.Option("--baselines", help="Its baselines too.")] = False,
    yes: Yes = False,
    if_match: IfMatch = None,
) -> None:
    """Delete a job that has ended, with its texts, adapters and answers. What it used stays in the usage."""
    _ask(f"Delete {job_id} with its rationales, adapters and answers for good?", yes)
    star(context).jobs.delete(job_id, baselines=baselines, if_match=if_match)


def archive_job(context: typer.Context, job_id: JobId, as_json: AsJson = False) -> None:
    """Leave a job that has ended out of lists."""
    print_one(star(context).jobs.archive(job_id), JOB, as_json)


def unarchive_job(context: typer.Context, job_id: JobId, as_json: AsJson = False) -> None:
    """List an archived job again."""
    print_one(star(context).jobs.archive(job_id, archived=False), JOB, as_json)


def delete_dataset(context: typer.Context, dataset_id: DatasetId, yes: Yes = False) -> None:
    """Delete a dataset that no job uses."""
    _ask(f"Delete {dataset_id} for good?", yes)
    star(context).datasets.delete(dataset_id)


def archive_dataset(context: typer.Context, dataset_id: DatasetId, as_json: AsJson = False) -> None:
    """Leave a dataset out of lists. Jobs can use it as before."""
    print_one(star(context).datasets.archive(dataset_id), DATASET, as_json)


def unarchive_dataset(context: typer.Context, dataset_id: DatasetId, as_json: AsJson = False) -> None:
    """List an archived dataset again."""
    print_one(star(context).datasets.archive(dataset_id, archived=False), DATASET, as_json)


def delete_prompt_set(context: typer.Context, prompt_set_id: PromptSetId, yes: Yes = False) -> None:
    """Delete a prompt set that no job uses."""
    _ask(f"Delete {prompt_set_id} for good?", yes)
    star(context).prompt_sets.delete(prompt_set_id)


def delete_project(
    context: typer.Context,
    project_id: ProjectId,
    contents: Annotated[bool, typer.Option("--contents", help="With all that it holds.")] = False,
    yes: Yes = False,
) -> None:
    """Delete a project and end its keys. Its usage and its audit log stay."""
    what = f"{project_id} and all that it holds" if contents else project_id
    _ask(f"Delete {what} for good?", yes)
    star(context).projects.delete(project_id, contents=contents)


def _ask(question: str, yes: bool) -> None:
    """Exits where the answer is no. Asks on standard error: what a script reads stays as it is."""
    if not yes:
        typer.confirm(question, abort=True, err=True)
