"""Precision and recall of the check hint_free, with the addition task's own base model as the reader.

The rationales are labelled by how they are made: worked through with their carries, so that they lead to the
answer, or with the carries forgotten and the right answer set below all the same, which is what a model
writes that was shown the answer and did not use its working.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from star_engine.config.star import Generation, StarConfig
from star_engine.config.training_set import TrainingSetOptions
from star_engine.data.prompt_sets import read_prompt_set
from star_engine.gpu.transformers_sampler import TransformersSampler
from star_engine.sampling.rationales import Rationale, RationaleKey, Route
from star_engine.sampling.shared_calls import share_call
from star_engine.tasks.examples import Example
from star_engine.tasks.kind import Kind
from star_engine.testing.fakes import addition_scratchpad
from star_engine.training_set.resample_filters import plan_checks
from tests.star_engine.addition import additions

EXAMPLES = Path(__file__).parents[3] / "examples"
MODEL, SHOWN = EXAMPLES / "carry" / "model", EXAMPLES / "addition" / "prompt_set.json"


def _worked(example: Example, *, carries: bool) -> str:
    a, b = ([int(digit) for digit in side.split()] for side in example.question.split(" + "))
    working = addition_scratchpad(a, b, carries=carries)
    return working.rpartition("\n")[0] + "\n" + example.answer


def _rationale(name: str, text: str) -> Rationale:
    return Rationale(RationaleKey(name, Route.RATIONALIZED, 0), text, "correct", None, "", 1, 1, "stop")


def test_what_does_not_lead_to_the_answer_is_told_apart_from_what_does() -> None:
    if not (MODEL / "model.safetensors").exists():
        pytest.skip("the addition task's base model has not been made")
    prompt_set = read_prompt_set(SHOWN.read_bytes(), Kind.SCRATCHPAD)
    drawn = additions((1, 2, 3), each=16, seed=7)
    carried = [e for e in drawn if _worked(e, carries=True) != _worked(e, carries=False)]
    examples = {f"{kind}{e.id}": e for e in carried for kind in ("leads/", "does not/")}
    tries = [_rationale(name, _worked(e, carries=name.startswith("leads"))) for name, e in examples.items()]
    config = StarConfig(
        kind=Kind.SCRATCHPAD,
        generation=Generation(max_tokens=64),
        training_set=TrainingSetOptions(checks=("hint_free",)),
    )
    sampler = TransformersSampler(MODEL)
    found = {
        item[0].example_id: item[1]["hint_free"]
        for _, item in share_call(sampler, [plan_checks(config, prompt_set, 1, examples, tries)])
        if item is not None
    }
    assert len(found) == len(tries) >= 40
    rejected = [name for name, passed in found.items() if not passed]
    right = sum(name.startswith("does not") for name in rejected)
    precision, recall = right / len(rejected), right / len(carried)
    assert (precision >= 0.9, recall >= 0.9) == (True, True), (precision, recall)
