"""Prompts stay what they were, byte for byte: recorded rationales and adapters belong to these prompts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from star_engine.tasks.kind import Kind
from tests.star_engine.tasks.prompts_of_kinds import CASES, texts_of

EXPECTED = json.loads((Path(__file__).parent / "prompt_bytes.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("kind", CASES)
def test_every_text_of_a_kind_is_as_it_was_recorded(kind: str) -> None:
    assert texts_of(kind) == EXPECTED[kind]


def test_every_kind_that_asks_questions_is_recorded() -> None:
    assert set(CASES) == set(EXPECTED) == set(Kind) - {Kind.DOCUMENTS}
