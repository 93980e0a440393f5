"""star prompt-sets draft: the base model writes examples, a person edits and accepts them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
import yaml

from star_client.cli import completion
from star_client.cli.invocation import FAILED, AsJson, star
from star_client.cli.printing import console, print_json

FIELDS = ("question", "choices", "rationale", "answer")


def draft(
    context: typer.Context,
    dataset: Annotated[
        str, typer.Option(help="Whose train rows it reasons about.", autocompletion=completion.datasets)
    ],
    model: Annotated[str, typer.Option(help="The base model.")],
    rows: Annotated[int, typer.Option(min=1, max=10, help="Examples that are wanted.")] = 5,
    out: Annotated[
        Path | None, typer.Option(help="A YAML file to write them to, for an editor and prompt-sets create.")
    ] = None,
    patience: Annotated[float, typer.Option(min=0, help="Seconds to wait for the model.")] = 600.0,
    as_json: AsJson = False,
) -> None:
    """Let the base model draft examples from rows of a dataset. Edit what it wrote, keep what is good, and
    create the prompt set from the file.
    """
    client = star(context)
    begun = client.prompt_drafts.create(dataset=dataset, model=model, rows=rows)
    found = client.prompt_drafts.wait(begun, patience=patience)
    examples = [{name: one[name] for name in FIELDS if one[name] not in (None, "")} for one in found.examples]
    text = yaml.safe_dump({"examples": examples}, sort_keys=False, allow_unicode=True, width=100)
    if out is not None:
        out.write_text(text, encoding="utf-8")
    if as_json:
        print_json(found)
    elif out is None:
        console.print(text, markup=False, soft_wrap=True)
    for number, one in enumerate(() if as_json else found.examples, start=1):
        for problem in one["problems"]:
            told = f"example {number}, {problem['field']}: {problem['reason']} {problem['fix']}"
            console.print(told, markup=False, soft_wrap=True)
    if found.status != "succeeded":
        reason = (found.status_reason or {}).get("message", found.status)
        console.print(f"The draft has not succeeded: {reason}", markup=False, soft_wrap=True)
        raise typer.Exit(FAILED)
    if out is not None and not as_json:
        console.print(f"Edit {out}, then: star prompt-sets create {out} --kind {found.kind}", markup=False)
