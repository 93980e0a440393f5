"""Sampler and trainer must see the same tokens, or the model is trained on texts that it never writes.

A GPU holds one of the two at a time, so the sampler leaves digests, and the trainer is compared with them
before its first step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256

from star_engine.config.star import StarConfig
from star_engine.data.prompts import render_completion, render_prompt
from star_engine.protocols import TrainingText
from star_engine.sampling.rationales import Rationale, RationaleKey
from star_engine.tasks.examples import Example, PromptSet
from star_engine.tasks.verdict import VerdictCode
from star_engine.training_set.rows import in_order, row_text, training_prompt

MAX_EXAMPLES = 8
MAX_CALLING = 8  # tries


class TokenMismatch(ValueError):
    """Sampler and trainer tokenize a text differently. Nothing may be trained."""


def parity_texts(config: StarConfig, prompt_set: PromptSet, examples: Sequence[Example]) -> list[str]:
    """Return the texts that both sides must tokenize alike: prompts of both routes, training prompts,
    few-shot texts.
    """
    few = examples[:MAX_EXAMPLES]
    prompts = [render_prompt(config.kind, prompt_set, example) for example in few]
    trained = [training_prompt(config, prompt_set, example) for example in few]
    bare = replace(prompt_set, examples=())
    whole = [
        render_prompt(config.kind, bare, Example("", one.question, one.answer, one.choices))
        + render_completion(config.kind, one.rationale, prompt_set.chat)
        for one in prompt_set.examples[:MAX_EXAMPLES]
    ]
    return list(dict.fromkeys([*prompts, *trained, *whole]))


def calling_texts(
    config: StarConfig, prompt_set: PromptSet, examples: Sequence[Example], tries: Sequence[Rationale]
) -> dict[str, TrainingText]:
    """The first rows that there may be with words of a tool or a hint, by `row_name`: both sides must
    tokenize their parts alike.
    """
    by_id = {example.id: example for example in examples}
    right = [one for one in tries if one.verdict == VerdictCode.CORRECT and one.tools and one.tools.spans]
    return {
        row_name(one.key): row_text(config, prompt_set, by_id[one.key.example_id], one)
        for one in in_order(examples, right)[:MAX_CALLING]
    }


def row_name(key: RationaleKey) -> str:
    return f"{key.route}/{key.sample}/{key.example_id}"


def token_digests(ids: Sequence[Sequence[int]]) -> list[str]:
    """A short digest of each text's tokens."""
    return [sha256(",".join(map(str, one)).encode()).hexdigest()[:16] for one in ids]


def check_parity(texts: Sequence[str], sampled: Sequence[str], trained: Sequence[str]) -> None:
    """TokenMismatch naming the first text whose digests differ; texts and digests in one order."""
    if len(sampled) != len(trained) or len(texts) != len(sampled):
        raise TokenMismatch(
            f"The sampler tokenized {len(sampled)} texts and the trainer {len(trained)}, of {len(texts)}."
        )
    for text, one, other in zip(texts, sampled, trained, strict=True):
        if one != other:
            raise TokenMismatch(
                f"Sampler and trainer tokenize a text differently, ending in {text[-60:]!r}. Nothing was "
                "trained: they do not hold the same tokenizer of the base model."
            )
