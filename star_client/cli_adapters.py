"""star adapters: the result of a job."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn

from star_client.client import StarClient
from star_client.errors import NotFound
from star_client.invocation import AsJson, JobId, star
from star_client.objects import Adapter, AdapterFile
from star_client.printing import Columns, console, moment, print_all, print_json

adapters = typer.Typer(no_args_is_help=True, help="The LoRA weights of an iteration.")

ADAPTER: Columns[Adapter] = {
    "id": lambda one: one.id,
    "iteration": lambda one: one.iteration,
    "model": lambda one: one.model,
    "bytes": lambda one: sum(file.size_bytes for file in one.files),
    "created": lambda one: moment(one.created_at),
}


@adapters.command("list")
def list_adapters(context: typer.Context, job_id: JobId, as_json: AsJson = False) -> None:
    """The verified adapters of a job, one per iteration."""
    print_all(star(context).adapters.list(job_id), ADAPTER, as_json)


@adapters.command("download")
def download(
    context: typer.Context,
    adapter_id: Annotated[
        str, typer.Argument(metavar="ADAPTER", help="Id of an adapter, or of a job: its best one.")
    ],
    directory: Annotated[
        Path | None, typer.Argument(file_okay=False, help="Default: the adapter's id.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Download an adapter and check its sha256. A download that was cut goes on where it ended."""
    client = star(context)
    if adapter_id.startswith("job_"):
        adapter_id = best_adapter(client, adapter_id)
    target = directory or Path(adapter_id)
    with Bars() as bars:
        paths = client.adapters.download(adapter_id, target, bars.report)
    if as_json:
        print_json(client.adapters.get(adapter_id))
        return
    for path in paths:
        console.print(str(path), soft_wrap=True)


def best_adapter(client: StarClient, job_id: str) -> str:
    best = client.jobs.get(job_id).best
    if best is None:
        raise NotFound(404, "no_adapter", f"{job_id} has no evaluated adapter yet.")
    return best.adapter_id


class Bars:
    """A bar for each file that is being downloaded; nothing where stderr is no terminal."""

    def __init__(self) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
        stderr = Console(stderr=True)
        self._progress = Progress(*columns, console=stderr, disable=not stderr.is_terminal)
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Bars:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def report(self, file: AdapterFile, done: int) -> None:
        if file.path not in self._tasks:
            self._tasks[file.path] = self._progress.add_task(file.path, total=file.size_bytes)
        self._progress.update(self._tasks[file.path], completed=done)
