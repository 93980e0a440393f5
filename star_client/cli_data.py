"""star datasets, star prompt-sets, star models: what jobs are made of."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from star_client.invocation import AsJson, File, Limit, read_yaml, star
from star_client.objects import BaseModelInfo, Dataset, PromptSet
from star_client.printing import Columns, moment, print_all, print_one

datasets = typer.Typer(no_args_is_help=True, help="Questions with answers, as JSONL.")
prompt_sets = typer.Typer(no_args_is_help=True, help="Few-shot examples with hand-written rationales.")
models = typer.Typer(no_args_is_help=True, help="Base models that jobs may use.")

Kind = Annotated[
    str, typer.Option(help="scratchpad, numeric, choice, exact, math or pattern: how answers are verified.")
]

DATASET: Columns[Dataset] = {
    "id": lambda one: one.id,
    "name": lambda one: one.name,
    "kind": lambda one: one.kind,
    "examples": lambda one: ", ".join(f"{count} {split}" for split, count in one.splits.items()),
    "created": lambda one: moment(one.created_at),
}
PROMPT_SET: Columns[PromptSet] = {
    "id": lambda one: one.id,
    "name": lambda one: one.name,
    "kind": lambda one: one.kind,
    "examples": lambda one: len(one.examples),
    "created": lambda one: moment(one.created_at),
}
MODEL: Columns[BaseModelInfo] = {
    "id": lambda one: one.id,
    "context": lambda one: one.context_length,
    "license": lambda one: one.license,
}


@datasets.command("upload")
def upload_dataset(
    context: typer.Context,
    file: File,
    kind: Kind,
    validation: Annotated[
        int, typer.Option(min=0, help="Rows to hold out, where none is marked as held out.")
    ] = 0,
    name: Annotated[str | None, typer.Option(help="Default: the file's name.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the choice of held-out rows.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Upload JSONL: question, answer and, where wanted, choices, solution, id, group and split per line."""
    found = star(context).datasets.upload(file, kind=kind, name=name, validation=validation, seed=seed)
    print_one(found, DATASET, as_json)


@datasets.command("list")
def list_datasets(context: typer.Context, limit: Limit = 20, as_json: AsJson = False) -> None:
    print_all(star(context).datasets.list(limit=limit).data, DATASET, as_json)


@prompt_sets.command("create")
def create_prompt_set(
    context: typer.Context,
    file: File,
    kind: Kind,
    name: Annotated[str | None, typer.Option(help="Default: the file's name.")] = None,
    as_json: AsJson = False,
) -> None:
    """From .json or .yaml (a list of examples with question, rationale and answer), else from text with Q:
    and A: as the papers publish it."""
    content: dict[str, Any] = {"text": file.read_text()}
    if file.suffix in (".json", ".yaml", ".yml"):
        loaded = read_yaml(file)
        content = {"examples": loaded["examples"] if isinstance(loaded, dict) else loaded}
    found = star(context).prompt_sets.create(name=name or file.stem, kind=kind, **content)
    print_one(found, PROMPT_SET, as_json)


@prompt_sets.command("list")
def list_prompt_sets(context: typer.Context, limit: Limit = 20, as_json: AsJson = False) -> None:
    print_all(star(context).prompt_sets.list(limit=limit).data, PROMPT_SET, as_json)


@models.command("list")
def list_models(context: typer.Context, as_json: AsJson = False) -> None:
    print_all(star(context).models.list(limit=100).data, MODEL, as_json)
