"""What is found out about the sampler that an iteration's tries came from, while it is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from star_engine.audits.determinism import drawn_again, grade_determinism
from star_engine.audits.token_parity import parity_texts, token_digests
from star_engine.config import StarConfig
from star_engine.examples import Example, PromptSet
from star_engine.protocols import Sampler
from star_engine.rationales import Rationale


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
    again = drawn_again(config, iteration, examples)
    known = {one.key: one for one in tries}
    return {
        "sampler_tokens": token_digests(sampler.token_ids(texts)),
        "determinism": grade_determinism(sampler, config, prompt_set, iteration, again, known),
    }
