"""star adapters: the result of a job."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn

from star_client.cli import completion
from star_client.cli.invocation import FAILED, OUTCOMES, AsJson, IfMatch, Limit, star
from star_client.cli.jobs import JOB, follow
from star_client.cli.printing import Columns, console, moment, print_all, print_json, print_one, shorten
from star_client.cli.quality.promotions import demote, promote, promotions
from star_client.cli.quality.receipts import show_receipt
from star_client.client import StarClient
from star_client.errors import NotFound
from star_client.objects import Adapter, AdapterFile
from star_client.objects_results import ThoughtBefore, TrialAnswer
from star_client.quality.chosen import By, Chosen, ToolAnswer

adapters = typer.Typer(no_args_is_help=True, help="The LoRA weights of an iteration.")

ADAPTER: Columns[Adapter] = {
    "id": lambda one: one.id,
    "iteration": lambda one: one.iteration,
    "role": lambda one: one.role,
    "model": lambda one: one.model,
    "bytes": lambda one: sum(file.size_bytes for file in one.files),
    "created": lambda one: moment(one.created_at),
}


TRIAL: Columns[TrialAnswer] = {
    "question": lambda one: shorten(one.question, 40),
    "asked": lambda one: one.asked,
    "verdict": lambda one: one.verdict,
    "extracted": lambda one: one.extracted,
    "text": lambda one: one.text,
}
THOUGHT_BEFORE: Columns[ThoughtBefore] = {
    "thought": lambda one: one.thought,
    "token": lambda one: one.token,
}
CHOSEN: Columns[Chosen] = {
    "answer": lambda one: one.selection.answer,
    "votes": lambda one: one.selection.votes,
    "score": lambda one: one.selection.score,
    "of": lambda one: one.selection.of,
    "text": lambda one: one.message.content,
}
TOOL_ANSWER: Columns[ToolAnswer] = {
    "calls": lambda one: one.tools.calls,
    "failed": lambda one: one.tools.failed,
    "text": lambda one: one.message.content,
}
AdapterId = Annotated[
    str,
    typer.Argument(
        metavar="ADAPTER",
        help="Its id, or job_...:best, job_...:last, job_...:3.",
        autocompletion=completion.adapters,
    ),
]


@adapters.command("list")
def list_adapters(
    context: typer.Context,
    job_id: Annotated[str | None, typer.Argument(metavar="JOB", help="Left out: of all jobs.")] = None,
    limit: Limit = 20,
    as_json: AsJson = False,
) -> None:
    """The verified adapters of a job, one per iteration."""
    client = star(context).adapters
    found = client.list_all(limit=limit).data if job_id is None else client.list(job_id)
    print_all(found, ADAPTER, as_json)


@adapters.command("get")
def get(context: typer.Context, adapter_id: AdapterId, as_json: AsJson = False) -> None:
    """One adapter: its iteration, its base model and the size of its files."""
    print_one(star(context).adapters.get(adapter_id), ADAPTER, as_json)


@adapters.command("ask")
def ask(
    context: typer.Context,
    adapter_id: AdapterId,
    questions: Annotated[list[str], typer.Argument(metavar="QUESTION...")],
    beside_base: Annotated[bool, typer.Option("--beside-base", help="Ask the base model too.")] = False,
    tools: Annotated[
        bool,
        typer.Option("--tools", help="Have a server of models write it, and show what the tool said."),
    ] = False,
    kind: Annotated[
        str | None,
        typer.Option(help="Of the questions, for an adapter that thinks between tokens; else text goes on."),
    ] = None,
    thoughts: Annotated[
        bool, typer.Option("--thoughts", help="Show what was thought before each token.")
    ] = False,
    max_tokens: Annotated[int | None, typer.Option(min=1)] = None,
    as_json: AsJson = False,
) -> None:
    """Ask an adapter a few questions, and wait for the answers."""
    if tools:
        if beside_base:
            why = "A base model has no tool: leave one of the two out."
            raise typer.BadParameter(why, param_hint="--tools")
        client = star(context).adapters
        told = [client.ask_with_tools(adapter_id, one, max_tokens=max_tokens) for one in questions]
        print_all(told, TOOL_ANSWER, as_json)
        return
    found = star(context).adapters.ask(
        adapter_id, questions, kind=kind, beside_base=beside_base, max_tokens=max_tokens
    )
    print_all(found.answers, TRIAL, as_json)
    for one in found.answers if thoughts and not as_json else ():
        print_all(one.thoughts or (), THOUGHT_BEFORE, as_json)
    if found.status != "succeeded":
        sys.stderr.write(f"{found.id} has {found.status}: {found.status_reason}\n")
        raise typer.Exit(OUTCOMES.get(found.status, FAILED))


@adapters.command("choose")
def choose(
    context: typer.Context,
    adapter_id: AdapterId,
    questions: Annotated[list[str], typer.Argument(metavar="QUESTION...")],
    of: Annotated[int, typer.Option(min=2, help="Answers to each question.")] = 8,
    by: Annotated[By, typer.Option(help="Who chooses.")] = "majority",
    verifier: Annotated[
        str | None, typer.Option(help="adp_...; else the newest of the adapter's job.")
    ] = None,
    temperature: Annotated[float, typer.Option(min=0, max=2)] = 1.0,
    max_tokens: Annotated[int | None, typer.Option(min=1)] = None,
    as_json: AsJson = False,
) -> None:
    """Print the best of several answers to each question, by their vote or a trained verifier."""
    client = star(context).adapters
    settings: dict[str, Any] = {"verifier": verifier, "temperature": temperature, "max_tokens": max_tokens}
    found = [client.choose(adapter_id, one, of=of, by=by, **settings) for one in questions]
    print_all(found, CHOSEN, as_json)


@adapters.command("evaluate")
def evaluate(
    context: typer.Context,
    adapter_id: AdapterId,
    dataset: Annotated[str, typer.Option(help="Id of a dataset.")],
    split: Annotated[str, typer.Option(help="test or validation")] = "test",
    max_examples: Annotated[int | None, typer.Option(min=1)] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Go on with star jobs watch.")] = False,
    as_json: AsJson = False,
) -> None:
    """Evaluate an adapter on a dataset, as a job of its own."""
    client = star(context)
    job = client.adapters.evaluate(adapter_id, dataset, split=split, max_examples=max_examples)
    if watch:
        follow(client, job.id, as_json)
    print_one(job, JOB, as_json)


@adapters.command("receipt")
def receipt(context: typer.Context, adapter_id: AdapterId, as_json: AsJson = False) -> None:
    """Print what an adapter gained on held-out questions, over what, and how sure that is."""
    show_receipt(star(context).adapters.receipt(adapter_id), as_json)


adapters.command("promote")(promote)
adapters.command("promotions")(promotions)
adapters.command("demote")(demote)


@adapters.command("pin")
def pin(
    context: typer.Context, adapter_id: AdapterId, if_match: IfMatch = None, as_json: AsJson = False
) -> None:
    """Exempt an adapter from its job's retention."""
    print_one(star(context).adapters.pin(adapter_id, if_match=if_match), ADAPTER, as_json)


@adapters.command("unpin")
def unpin(
    context: typer.Context, adapter_id: AdapterId, if_match: IfMatch = None, as_json: AsJson = False
) -> None:
    changed = star(context).adapters.pin(adapter_id, pinned=False, if_match=if_match)
    print_one(changed, ADAPTER, as_json)


@adapters.command("delete")
def delete(
    context: typer.Context, adapter_id: AdapterId, if_match: IfMatch = None, as_json: AsJson = False
) -> None:
    """Give up an adapter's weights. Its card and its manifest stay."""
    print_one(star(context).adapters.delete(adapter_id, if_match=if_match), ADAPTER, as_json)


@adapters.command("download")
def download(
    context: typer.Context,
    adapter_id: Annotated[
        str, typer.Argument(metavar="ADAPTER", help="Id of an adapter, or of a job: its best one; job_...:3.")
    ],
    directory: Annotated[
        Path | None, typer.Argument(file_okay=False, help="Default: the adapter's id.")
    ] = None,
    base: Annotated[
        Path | None,
        typer.Option(exists=True, file_okay=False, help="The base model's folder here, for PEFT to find it."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Download an adapter and check its sha256. An interrupted download resumes where it stopped."""
    client = star(context)
    if adapter_id.startswith("job_") and ":" not in adapter_id:
        adapter_id = best_adapter(client, adapter_id)
    target = directory or Path(adapter_id)
    with Bars() as bars:
        paths = client.adapters.download(adapter_id, target, bars.report, base=base)
    if as_json:
        print_json(client.adapters.get(adapter_id))
        return
    for path in paths:
        console.print(str(path), soft_wrap=True)


@adapters.command("merge")
def merge(
    context: typer.Context,
    adapter_id: Annotated[
        str, typer.Argument(metavar="ADAPTER", help="Id of an adapter, or of a job: its best one; job_...:3.")
    ],
    file: Annotated[Path, typer.Argument(dir_okay=False, help="Where to write it: NAME.tar or NAME.gguf.")],
    form: Annotated[
        Literal["safetensors", "gguf"] | None, typer.Option("--format", help="Default: by the file's ending.")
    ] = None,
) -> None:
    """Download an adapter merged into its base model: a .tar for transformers and vLLM, or a GGUF."""
    client = star(context)
    if adapter_id.startswith("job_") and ":" not in adapter_id:
        adapter_id = best_adapter(client, adapter_id)
    wanted = form or ("gguf" if file.suffix == ".gguf" else "safetensors")
    console.print(str(client.adapters.merged(adapter_id, file, format=wanted)), soft_wrap=True)


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
