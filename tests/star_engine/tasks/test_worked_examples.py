from __future__ import annotations

import pytest

from star_engine.data.prompt_sets import check_prompt_set, prompt_set_warnings
from star_engine.tasks.kind import Kind
from star_engine.tasks.starting.worked import seed_prompts

KINDS = [kind for kind in Kind if seed_prompts(kind) is not None]


@pytest.mark.parametrize("kind", KINDS)
def test_every_built_in_example_leads_to_its_own_answer(kind: Kind) -> None:
    prompts = seed_prompts(kind)
    assert prompts is not None
    assert len(prompts.examples) >= 2
    assert check_prompt_set(prompts) == []
    assert prompt_set_warnings(prompts) == []


def test_kinds_whose_answers_a_job_defines_have_none() -> None:
    assert {*Kind} - {*KINDS} == {
        Kind.PATTERN, Kind.CODE, Kind.PROGRAM, Kind.REMOTE, Kind.DOCUMENTS,
    }  # fmt: skip
