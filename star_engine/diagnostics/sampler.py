"""What is found out about the sampler that an iteration's tries came from, while it is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from star_engine.config.star import StarConfig
from star_engine.diagnostics.determinism import TwicePlan, drawn_again, grade_determinism
from star_engine.diagnostics.token_parity import parity_texts, token_digests
from star_engine.protocols import Sampler
from star_engine.sampling.rationales import Rationale, RationaleKey, Route, plan_tries
from star_engine.tasks.examples import Example, PromptSet


def audit_sampler(
    sampler: Sampler,
    config: StarConfig,
    prompt_set: PromptSet,
    iteration: int,
    examples: Sequence[Example],
    tries: Sequence[Rationale],
) -> dict[str, Any]:
    """sampler_tokens: digests that the trainer is held against; determinism: a few tries made again."""
    texts = parity_texts(config, prompt_set, examples)
    known = {one.key: one for one in tries}
    drawn = drawn_again(config, iteration, examples)
    again = [example for example in drawn if RationaleKey(example.id, Route.GENERATED, 0) in known]
    plan = TwicePlan(plan_tries(config, prompt_set, (), iteration, {}), again)
    for completion in sampler.stream(plan.queue, plan.params):
        plan.finish(completion)
    return {
        "sampler_tokens": token_digests(sampler.token_ids(texts)),
        "determinism": grade_determinism(plan.answers, known),
    }
