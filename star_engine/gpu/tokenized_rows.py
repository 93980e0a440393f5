"""Training texts as tokens: where the completion begins, and what a step's batch is."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal

from star_engine.gpu.causal_lm import prompt_ids, text_after
from star_engine.protocols import TrainingText


@dataclass(frozen=True, slots=True)
class TokenizedRow:
    """Prompt, completion and EOS. Loss falls on everything from `start` on."""

    ids: tuple[int, ...]
    start: int  # index of the first completion token, or 1 where all are learned: nothing predicts the first

    @property
    def loss_tokens(self) -> int:
        return len(self.ids) - self.start


def tokenize_rows(
    tokenizer: Any,
    texts: Sequence[TrainingText],
    max_length: int,
    eos: int,
    loss: Literal["completion", "all"] = "completion",
) -> list[TokenizedRow]:
    """Tokenize prompt and completion as one text and find the boundary by token offsets.

    The trained prompt must be the very tokens that the sampler is given for it. Where a token of the joint
    text straddles the boundary, or the joint text changes tokens before it, the completion is tokenized
    alone, behind the sampler's prompt tokens, which is how sampled text continues a prompt. Where those
    tokens do not spell the completion, and for rows that are empty or too long: ValueError naming the row.
    The tokens are the same wherever loss falls.
    """
    if not texts:
        raise ValueError("The training set is empty: there is nothing to train on.")
    prompts = prompt_ids(tokenizer, [text.prompt for text in texts])
    joint = tokenizer(
        [text.prompt + text.completion for text in texts],
        return_offsets_mapping=True,
        return_special_tokens_mask=True,
    )
    columns = zip(joint["input_ids"], joint["offset_mapping"], joint["special_tokens_mask"], strict=True)
    rows: list[TokenizedRow] = []
    for number, (text, prompt, (ids, offsets, special)) in enumerate(
        zip(texts, prompts, columns, strict=True)
    ):
        if not prompt or not text.completion:
            raise ValueError(f"Training row {number} has an empty prompt or completion.")
        start = _completion_start(offsets, special, len(text.prompt))
        if ids[:start] == prompt and offsets[start][0] >= len(text.prompt):
            end = len(ids) - (1 if special[-1] else 0)  # some tokenizers add an EOS of their own
            completion = ids[start:end]
        else:
            completion = _completion_alone(tokenizer, text, prompt, number)
        row = _row(prompt, completion, eos, max_length, number)
        rows.append(row if loss == "completion" else replace(row, start=1))
    return rows


def _completion_start(offsets: Sequence[tuple[int, int]], special: Sequence[int], boundary: int) -> int:
    """Index of the first token that reaches behind the prompt's characters."""
    for index, ((_, end), added) in enumerate(zip(offsets, special, strict=True)):
        if end > boundary and not added:
            return index
    return len(offsets) - 1


def _completion_alone(tokenizer: Any, text: TrainingText, prompt: list[int], number: int) -> list[int]:
    completion: list[int] = tokenizer(text.completion, add_special_tokens=False)["input_ids"]
    if text_after(tokenizer, prompt, completion) != text.completion:
        raise ValueError(
            f"Training row {number}: a token straddles the end of the prompt (…{text.prompt[-20:]!r} + "
            f"{text.completion[:20]!r}…), and the completion cannot be told apart. Let the prompt end where "
            "a word ends: move white space from its end to the start of the completion."
        )
    return completion


def _row(prompt: list[int], completion: list[int], eos: int, max_length: int, number: int) -> TokenizedRow:
    ids = (*prompt, *completion, eos)
    if len(ids) > max_length:
        raise ValueError(
            f"Training row {number} has {len(ids)} tokens ({len(prompt)} of the prompt, "
            f"{len(completion) + 1} of the completion), more than training.max_length = {max_length}. "
            "Raise it, or shorten the prompt."
        )
    return TokenizedRow(ids, len(prompt))


def batch_of_step(rows: int, batch_size: int, seed: int, step: int) -> list[int]:
    """Row numbers of a step (the first is 0): epoch after epoch in a new order, without partial batches.

    A function of its arguments only, so that a resumed run needs no state to go on with the same batches.
    """
    places = range(step * batch_size, (step + 1) * batch_size)
    return [_order(rows, seed, place // rows)[place % rows] for place in places]


@lru_cache(maxsize=4)
def _order(rows: int, seed: int, epoch: int) -> tuple[int, ...]:
    order = list(range(rows))
    random.Random(f"{seed}/{epoch}").shuffle(order)
    return tuple(order)
