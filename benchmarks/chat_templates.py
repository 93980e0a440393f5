"""A table of chat templates: are prompts, hint audit and loss mask right with each of them?

    python -m benchmarks.chat_templates > docs/benchmarks/chat-templates.md

What each column asks is a test of tests/star_engine/chat/test_templates.py, run here for each family. The
templates are the published ones; the tokenizers are small ones of our own with the family's special tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

from transformers.utils import chat_template_utils

from star_engine.data.chat_template import read_chat_template
from tests.star_engine.chat import test_templates as checks
from tests.star_engine.chat.families import FAMILIES, Family, write_model

Folders = dict[str, Path]


def _ids_equal(family: Family, folders: Folders) -> None:
    for system in (None, "Be brief."):
        checks.test_prompt_tokens_are_those_of_transformers(family, system, folders)
    checks.test_prompt_tokens_are_the_recorded_ones(family, folders)


def _conversations(family: Family, folders: Folders) -> None:
    checks.test_tokens_of_a_conversation_are_those_of_transformers_and_the_recorded_ones(family, folders)
    for few_shot in ("turns", "block"):
        checks.test_a_conversation_is_served_as_it_was_asked(family, few_shot, folders)
    checks.test_a_row_of_a_conversation_learns_its_last_answer_alone(family, folders)
    checks.test_the_hint_audit_refuses_a_conversation_with_its_hint(family, folders)


COLUMNS: dict[str, Callable[[Family, Folders], None]] = {
    "ids equal": _ids_equal,
    "BOS once": checks.test_bos_stands_once_at_the_beginning,
    "hint audit": checks.test_the_hint_audit_passes_rendered_rows_and_refuses_the_hinted_prompt,
    "loss mask": checks.test_loss_falls_on_what_was_sampled_and_on_the_end_of_the_turn,
    "conversations": _conversations,
    "stops at its end": checks.test_the_model_stops_at_the_end_of_its_turn,
    "answer behind thinking": checks.test_the_answer_is_read_behind_the_thinking,
}


def main() -> None:
    names = ["template", "sha256", "ends a turn with", "thinks", *COLUMNS]
    print(TOP)
    print("| " + " | ".join(names) + " |")
    print("| " + " | ".join("---" for _ in names) + " |")
    with TemporaryDirectory() as place, patch.object(chat_template_utils, "datetime", checks.FixedDay):
        folders = {family.name: write_model(family, Path(place, family.name)) for family in FAMILIES}
        for family in FAMILIES:
            print(f"| {' | '.join(_row(family, folders))} |")


def _row(family: Family, folders: Folders) -> list[str]:
    template = read_chat_template(folders[family.name])
    assert template is not None, family.name
    thinks = "yes" if family.thought else "no"
    found = [_holds(check, family, folders) for check in COLUMNS.values()]
    return [family.name, f"`{template.sha256[:12]}`", f"`{family.end}`".replace("|", "\\|"), thinks, *found]


def _holds(check: Callable[[Family, Folders], None], family: Family, folders: Folders) -> str:
    try:
        check(family, folders)
    except AssertionError:
        return "**no**"
    return "yes"


TOP = """# Chat templates

`python -m benchmarks.chat_templates` wrote this page. *Ids equal*: the prompt's tokens are those of
transformers' `apply_chat_template` for the same messages, with a system prompt and without, with the hint and
without, and those on record in `tests/star_engine/chat/golden_ids.json`. *Hint audit*: it passes the rows as
rendered, and refuses the hinted prompt and a completion that differs by a space. *Loss mask*: loss falls on
the sampled tokens and on the token that ends the turn, and on nothing else. *Conversations*: all of this for
a question behind earlier turns, few-shot examples as turns and as a block, and served as it was asked. The
tests assert each of these for each template. The templates are the published ones, the tokenizers small ones
of our own.
"""


if __name__ == "__main__":
    main()
