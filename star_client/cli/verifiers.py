"""star verifiers: how a job would judge texts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import typer

from star_client.cli.invocation import REFUSED, AsJson, File, star
from star_client.cli.printing import console, print_json, print_text
from star_client.interop.yaml_files import read_text
from star_client.verifiers import Judgement

verifiers = typer.Typer(no_args_is_help=True, help="How texts are judged, tried out without a job.")


@verifiers.command("run")
def run(context: typer.Context, file: File, as_json: AsJson = False) -> None:
    """Judge rows of JSONL, or of a JSON array: kind, completion, answer and, where wanted, choices, question,
    route (generated, rationalized, hinted or given), finish_reason (stop or length) and options of the
    verifier. Ends with 4 where a row cannot be judged; the others are judged all the same."""
    found = star(context).verifiers.run(rows_of(file))
    for one in found:
        if as_json:
            print_json(one)
        else:
            _print(one)
    if any(one.errors for one in found):
        raise typer.Exit(REFUSED)


@verifiers.command("secret")
def secret(context: typer.Context) -> None:
    """Print the secret that signs what the project's graders are sent (kind remote)."""
    console.print(star(context).verifiers.grader_secret(), soft_wrap=True)


def rows_of(file: Path) -> list[dict[str, Any]]:
    """The objects of a file. Wrong usage, naming the line, where one is none."""
    text = read_text(file)
    if text.lstrip().startswith("["):
        pieces = [("", text)]
    else:
        pieces = [(f", line {n}", line) for n, line in enumerate(text.split("\n"), start=1) if line.strip()]
    rows: list[dict[str, Any]] = []
    for where, piece in pieces:
        try:
            read = json.loads(piece)
        except ValueError as problem:
            raise typer.BadParameter(f"{file}{where}: not JSON: {problem}.") from problem
        rows += read if isinstance(read, list) else [read]
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            raise typer.BadParameter(f"{file}, row {number}: {json.dumps(row)[:40]} is not an object.")
    return rows


def _print(one: Judgement) -> None:
    """Print one row for people."""
    if one.errors:
        for error in one.errors:
            console.print(f"Row {one.row}, {error.field}: {error.reason} {error.fix}", soft_wrap=True)
        return
    place = f" at {one.span[0]} to {one.span[1]}" if one.span else ""
    read = "nothing" if one.extracted is None else f"{one.extracted!r}{place}"
    fate = "kept" if one.why is None else f"dropped: {one.why} ({one.decision})"
    console.print(f"Row {one.row}: {one.verdict} ({one.rule}); extracted: {read}; {fate}", soft_wrap=True)
    for name, why in one.filters.items():
        if why is not None:
            console.print(f"  filter {name} would drop it: {why}", soft_wrap=True)
    print_text("  trained on", one.trained_on)
