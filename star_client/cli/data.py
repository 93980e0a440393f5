"""star datasets, star prompt-sets, star models: what jobs are made of."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
import yaml

from star_client.cli import completion, invocation
from star_client.cli.invocation import AsJson, File, Limit, star
from star_client.cli.printing import Columns, console, moment, print_all, print_json, print_one, print_text
from star_client.objects import BaseModelInfo, Dataset, Preset, PromptSet
from star_client.resources import FETCHED

datasets = typer.Typer(no_args_is_help=True, help="Questions with answers.")
prompt_sets = typer.Typer(no_args_is_help=True, help="Few-shot examples with hand-written rationales.")
presets = typer.Typer(no_args_is_help=True, help="Named settings that jobs start from.")
models = typer.Typer(no_args_is_help=True, help="Base models that jobs may use.")

Kind = Annotated[invocation.Kind, typer.Option(help="How answers are read.")]
DatasetId = Annotated[
    str, typer.Argument(metavar="DATASET", help="Id of a dataset.", autocompletion=completion.datasets)
]
PromptSetId = Annotated[
    str,
    typer.Argument(metavar="PROMPT-SET", help="Id of a prompt set.", autocompletion=completion.prompt_sets),
]

SkipBadRows = Annotated[
    bool, typer.Option("--skip-bad-rows", help="Leave bad rows out instead of refusing the file.")
]

DATASET: Columns[Dataset] = {
    "id": lambda one: one.id,
    "name": lambda one: one.name,
    "version": lambda one: one.version,
    "kind": lambda one: one.kind,
    "examples": lambda one: ", ".join(f"{count} {split}" for split, count in one.splits.items()),
    "created": lambda one: moment(one.created_at),
}
PROMPT_SET: Columns[PromptSet] = {
    "id": lambda one: one.id,
    "name": lambda one: one.name,
    "version": lambda one: one.version,
    "kind": lambda one: one.kind,
    "examples": lambda one: len(one.examples),
    "created": lambda one: moment(one.created_at),
}
PRESET: Columns[Preset] = {
    "id": lambda one: one.id,
    "what": lambda one: one.description.partition("\n")[0],
}
MODEL: Columns[BaseModelInfo] = {
    "id": lambda one: one.id,
    "context": lambda one: one.context_length,
    "license": lambda one: one.license,
}
ASKED: Columns[BaseModelInfo] = {
    "id": lambda one: one.id,
    "base": lambda one: one.base_model or "",
    "also": lambda one: ", ".join(one.aliases),
}


def file_or_bucket(source: str) -> str:
    """A file that is there, or what only the server can look for."""
    if not source.startswith(FETCHED) and not Path(source).is_file():
        raise typer.BadParameter(f"File {source!r} does not exist.")
    return source


@datasets.command("upload")
def upload_dataset(
    context: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE", callback=file_or_bucket)],
    kind: Annotated[
        invocation.Kind | None,
        typer.Option(
            help="How answers are read; documents, whose rows have text alone, are known without it."
        ),
    ] = None,
    validation: Annotated[
        int, typer.Option(min=0, help="Rows to hold out, where none is marked as held out.")
    ] = 0,
    name: Annotated[str | None, typer.Option(help="Default: the file's name.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the choice of held-out rows.")] = 0,
    form: Annotated[
        str | None,
        typer.Option("--format", help="jsonl, json, csv, parquet, xlsx, text; default: as it looks."),
    ] = None,
    columns: Annotated[
        list[str] | None,
        typer.Option(
            "--map", help="Your columns: question=prompt, choices=A,B,C, question=Body,Question (joined)."
        ),
    ] = None,
    allow_overlap: Annotated[
        bool, typer.Option("--allow-overlap", help="Take held-out rows whose question is trained on.")
    ] = False,
    skip_bad_rows: SkipBadRows = False,
    as_json: AsJson = False,
) -> None:
    """Upload JSONL, a JSON array, CSV, Parquet or an Excel workbook (.xlsx), also as .gz or .zst: question,
    answer and, where wanted, choices, solution, id, group and split per row; of kind documents text alone,
    or a plain text file. Or s3://BUCKET/KEY or hf:ORG/NAME[/CONFIG]/SPLIT[+SPLIT], a
    dataset of a hub, which the server fetches where its operator allows it."""
    found = star(context).datasets.upload(
        file,
        kind=kind,
        name=name,
        validation=validation,
        seed=seed,
        format=form,
        map=mapping(columns) if columns else None,
        allow_overlap=allow_overlap,
        skip_bad_rows=skip_bad_rows,
    )
    print_one(found, DATASET, as_json)
    for warning in () if as_json else found.warnings:
        console.print(f"Warning: {warning}", soft_wrap=True)


@datasets.command("preview")
def preview_dataset(
    context: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE", callback=file_or_bucket)],
    kind: Annotated[invocation.Kind | None, typer.Option(help="Default: guessed by the rows.")] = None,
    validation: Annotated[int, typer.Option(min=0, help="Rows to hold out.")] = 0,
    columns: Annotated[
        list[str] | None, typer.Option("--map", help="As of upload; default: guessed by their names.")
    ] = None,
    skip_bad_rows: SkipBadRows = False,
    as_json: AsJson = False,
) -> None:
    """How a file would be read: its kind, which column is which, its splits and its bad rows. Or what the
    server fetches, as of upload.
    """
    chosen = mapping(columns) if columns else None
    found = star(context).datasets.preview(
        file, kind=kind, validation=validation, map=chosen, skip_bad_rows=skip_bad_rows
    )
    if as_json:
        return print_json(found)
    splits = ", ".join(f"{count} {split}" for split, count in found.splits.items()) or "none"
    if found.source is not None:
        console.print(f"fetched {found.source}", markup=False, soft_wrap=True)
    console.print(f"kind {found.kind or 'unknown: give --kind'}, {found.format}; good rows: {splits}")
    used = {column: field for field, names in found.map.items() for column in names}
    for column in found.columns:
        name = str(column["name"])
        console.print(f"column {name!r} is {used.get(name, 'read under its own name')}", markup=False)
    for row in found.bad:
        for mistake in row["mistakes"]:
            told = f"row {row['line']}, {mistake['field']}: {mistake['reason']} {mistake['fix']}"
            console.print(told, markup=False, soft_wrap=True)
    if found.bad_rows:
        console.print(f"{found.bad_rows} bad rows in all. upload --skip-bad-rows leaves them out.")
    for warning in found.warnings:
        console.print(f"Warning: {warning}", soft_wrap=True)
    return None


def mapping(columns: list[str]) -> dict[str, str | list[str]]:
    """Field to column; several columns with commas between them are the choices."""
    found: dict[str, str | list[str]] = {}
    for text in columns:
        field, equals, column = text.partition("=")
        if not (field and equals and column):
            raise typer.BadParameter(f"{text!r} is not of the form field=column.", param_hint="--map")
        found[field] = column.split(",") if "," in column else column
    return found


@datasets.command("stats")
def statistics(
    context: typer.Context,
    dataset_id: Annotated[str, typer.Argument(metavar="DATASET")],
    model: Annotated[str | None, typer.Option(help="Also lengths in its tokens.")] = None,
    prompt_set: Annotated[str | None, typer.Option(help="Also what its examples give away.")] = None,
    as_json: AsJson = False,
) -> None:
    """Answers, choices, lengths, duplicates, and what held-out questions share with those trained on."""
    found = star(context).datasets.statistics(dataset_id, model=model, prompt_set=prompt_set)
    if as_json:
        return print_json(found)
    return console.print(yaml.safe_dump(found.model_dump(mode="json"), sort_keys=False, allow_unicode=True))


@datasets.command("get")
def get_dataset(context: typer.Context, dataset_id: DatasetId, as_json: AsJson = False) -> None:
    """One dataset, with what there is to know before it is used."""
    found = star(context).datasets.get(dataset_id)
    print_one(found, DATASET, as_json)
    for warning in () if as_json else found.warnings:
        console.print(f"Warning: {warning}", soft_wrap=True)


@datasets.command("list")
def list_datasets(
    context: typer.Context,
    name: Annotated[str | None, typer.Option(help="Only the versions of this name.")] = None,
    archived: Annotated[bool, typer.Option("--archived", help="The archived ones only.")] = False,
    limit: Limit = 20,
    as_json: AsJson = False,
) -> None:
    """Datasets, the newest first."""
    found = star(context).datasets.list(name=name, archived=archived, limit=limit)
    print_all(found.data, DATASET, as_json)


@prompt_sets.command("create")
def create_prompt_set(
    context: typer.Context,
    file: File,
    kind: Kind,
    name: Annotated[str | None, typer.Option(help="Default: the file's name.")] = None,
    as_json: AsJson = False,
) -> None:
    """Create a prompt set from .json or .yaml (a list of examples with question, rationale and answer,
    or with messages), or from text with Q: and A: as published with the papers.
    """
    found = star(context).prompt_sets.create(file, name=name, kind=kind)
    print_one(found, PROMPT_SET, as_json)
    for warning in () if as_json else found.warnings:
        console.print(f"Warning: {warning}", soft_wrap=True)


@prompt_sets.command("list")
def list_prompt_sets(context: typer.Context, limit: Limit = 20, as_json: AsJson = False) -> None:
    """Prompt sets, the newest first."""
    print_all(star(context).prompt_sets.list(limit=limit).data, PROMPT_SET, as_json)


@prompt_sets.command("get")
def get_prompt_set(context: typer.Context, prompt_set_id: PromptSetId, as_json: AsJson = False) -> None:
    """One prompt set with its examples in full."""
    found = star(context).prompt_sets.get(prompt_set_id)
    print_one(found, PROMPT_SET, as_json)
    for example in () if as_json else found.examples:
        print_text(str(example.get("question", "conversation")), str(example.get("rationale", example)))


@prompt_sets.command("preview")
def preview(
    context: typer.Context,
    prompt_set_id: Annotated[str, typer.Argument(metavar="PROMPT-SET")],
    dataset: Annotated[str, typer.Option(help="Where the example is.")],
    example: Annotated[str, typer.Option(help="Its id; row-1 is the first line's.")],
    model: Annotated[str | None, typer.Option(help="Also count its tokens.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show the prompt a job would send for one example, and the text it would train on."""
    found = star(context).prompt_sets.preview(prompt_set_id, dataset=dataset, example_id=example, model=model)
    if as_json:
        return print_json(found)
    row = found.training_row
    stand_in = " of a few-shot example" if row["stands_in"] else ""
    print_text("prompt", found.prompt)
    print_text("prompt with the hint", found.hinted_prompt)
    print_text(f"training row{stand_in}", f"{row['prompt']}{row['completion']}")
    if found.tokens:
        print_text("tokens", ", ".join(f"{value} {name}" for name, value in found.tokens.items()))
    return None


@presets.command("list")
def list_presets(context: typer.Context, kind: Kind, as_json: AsJson = False) -> None:
    """Named settings to start from."""
    print_all(star(context).presets.list(kind).data, PRESET, as_json)


@models.command("list")
def list_models(
    context: typer.Context,
    adapters: Annotated[bool, typer.Option(help="Adapters that can be asked, not base models.")] = False,
    as_json: AsJson = False,
) -> None:
    """Base models that jobs may use, by id."""
    found = star(context).models.list(kind="adapter" if adapters else "base", limit=100).data
    print_all(found, ASKED if adapters else MODEL, as_json)
