"""Audits that ask the GPU: is the sampler deterministic, and does the trainer read the sampler's tokens?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.database import reading
from app.ledger.data.examples import load_examples, selected_positions
from app.ledger.data.prompt_sets import load_prompt_set
from app.ledger.queue.steps import Claim
from app.ledger.results.diagnostics import recorded_audits
from app.ledger.results.rationales import iteration_tries
from star_engine.diagnostics.determinism import grade_determinism
from star_engine.diagnostics.token_parity import MOST_EXAMPLES, check_parity, parity_texts, token_digests
from star_engine.sampling.answers import Answer
from star_engine.sampling.rationales import RationaleKey
from star_engine.tasks.examples import Example, PromptSet
from worker.context import Workbench


def audit_sampler(
    bench: Workbench,
    claim: Claim,
    prompt_set: PromptSet,
    second: Mapping[RationaleKey, Answer],
    row_ids: Mapping[str, int],
) -> dict[str, Any]:
    """What the first shard of an iteration finds out about the sampler that its tries came from.

    second: what was answered the second time where a try was generated twice.
    """
    with reading(bench.engine) as session:
        rows = iteration_tries(session, claim, [row_ids[key.example_id] for key in second])
    texts = parity_texts(claim.config, prompt_set, _first_examples(bench, claim))
    return {
        "sampler_tokens": token_digests(bench.gpu(claim.model_id).token_ids(texts)),
        "determinism": grade_determinism(second, {item.key: item for _, item in rows}),
    }


def check_tokens(bench: Workbench, claim: Claim) -> None:
    """Hold the trainer's tokens against what the sampler left. Raises TokenMismatch."""
    with reading(bench.engine) as session:
        sampled = recorded_audits(session, claim).get("sampler_tokens")
        prompt_set = load_prompt_set(session, claim.prompt_set_id)
    if sampled is None:  # sampled before this audit was
        return
    texts = parity_texts(claim.config, prompt_set, _first_examples(bench, claim))
    check_parity(texts, sampled, token_digests(bench.gpu(claim.model_id).training_token_ids(texts)))


def _first_examples(bench: Workbench, claim: Claim) -> list[Example]:
    """Of the iteration, however its first shard was cut."""
    with reading(bench.engine) as session:
        positions = selected_positions(session, claim.dataset_id, claim.config, claim.iteration)
        rows = load_examples(session, claim.dataset_id, "train", positions[:MOST_EXAMPLES])
    return [example for _, example in rows]
