"""star models add, star models check: the allow-list of base models, written on the operator's machine.

python -m worker.hub add ORG/NAME[@REVISION] | FOLDER
python -m worker.hub check MODEL --data questions.jsonl --kind numeric --prompt-set prompts.txt
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from app.ledger.data.base_models import BadModelsFile
from app.settings import Settings
from star_engine.config.star import StarConfig
from star_engine.data.prompt_sets import read_prompt_set
from star_engine.data.readers import read_examples
from star_engine.data.row_errors import BadRows, RowError
from star_engine.tasks.examples import Example
from star_engine.tasks.kind import Kind
from worker.hub.add import Wanted, add, listed_folder
from worker.hub.model_files import Unusable, has_chat_template
from worker.hub.try_out import Checked, check

DONE, NO_SPARK, REFUSED = 0, 1, 4  # as `star` ends


def main(arguments: Sequence[str] | None = None) -> int:
    """0: done. 1: the model was asked, and has nothing to start from. 2: wrong usage. 4: refused."""
    chosen = _parser().parse_args(arguments)
    settings = Settings()
    try:
        return _add(chosen, settings) if chosen.command == "add" else _check(chosen, settings)
    except (Unusable, BadModelsFile, BadRows, OSError) as problem:
        print(problem, file=sys.stderr)
        return REFUSED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="star models", description=__doc__, add_help=True)
    commands = parser.add_subparsers(dest="command", required=True)
    added = commands.add_parser("add", help="put a base model on the allow-list")
    added.add_argument("model", metavar="ORG/NAME[@REVISION] | FOLDER")
    added.add_argument("--id", help="the name that jobs ask for; default: ORG/NAME, or the folder's name")
    added.add_argument("--into", type=Path, help="where downloads go; default: STAR_HOME/models")
    added.add_argument("--license", help="where the hub or the folder does not say")
    added.add_argument(
        "--context-length", type=int, help="tokens, where config.json does not say or less will do"
    )
    measure = commands.add_parser("check", help="ask it a few questions, before a job does")
    measure.add_argument("model", metavar="ID | FOLDER")
    measure.add_argument("--data", type=Path, required=True, help="JSONL with questions and answers")
    measure.add_argument("--kind", type=Kind, choices=list(Kind), required=True)
    measure.add_argument("--prompt-set", type=Path, required=True)
    measure.add_argument("--rows", type=int, default=20)
    measure.add_argument("--max-tokens", type=int, default=256)
    return parser


def _add(chosen: argparse.Namespace, settings: Settings) -> int:
    given = (chosen.model, chosen.id, chosen.into, chosen.license, chosen.context_length)
    added = add(Wanted(*given), settings)
    entry = added.entry
    template = "a chat template" if has_chat_template(added.folder, entry.id) else "no chat template"
    at = f", commit {entry.revision}" if entry.revision else ""
    found = f"{len(entry.files)} files{at}, {entry.context_length} tokens, {template}"
    print(f"{entry.id} is on {settings.models_file}: {found}.")
    print("A platform that runs offers it within seconds.")
    return DONE


def _check(chosen: argparse.Namespace, settings: Settings) -> int:
    config = StarConfig.model_validate({"kind": chosen.kind, "generation": {"max_tokens": chosen.max_tokens}})
    prompt_set = read_prompt_set(chosen.prompt_set.read_bytes(), chosen.kind)
    with chosen.data.open("rb") as lines:
        rows = list(islice(read_examples(lines, chosen.kind), chosen.rows))
    if errors := [row for row in rows if isinstance(row, RowError)]:
        raise BadRows(errors)
    examples = [row for row in rows if isinstance(row, Example)]
    if not examples:
        raise Unusable(f"{chosen.data} has no rows.")
    found = check(listed_folder(chosen.model, settings), settings, config, prompt_set, examples)
    _show(found)
    return DONE if found.diagnosis is None else NO_SPARK


def _show(found: Checked) -> None:
    chance = f"guessing is right on {100 * found.chance:.1f} %"
    print(f"{found.right} of {found.asked} right; {chance} (p = {found.p_value:.3f}).")
    print(found.diagnosis or "There is a spark: a job can start from what the model knows.")


if __name__ == "__main__":
    sys.exit(main())
