"""Training texts as tokens: where the completion begins, and what a step's batch is."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import count
from typing import Any, Literal

from star_engine.gpu.causal_lm import encode, prompt_ids, text_after
from star_engine.gpu.text_parts import parts_ids
from star_engine.protocols import TrainingText


@dataclass(frozen=True, slots=True)
class TokenizedRow:
    """Prompt, completion and the last token. Loss covers the unmasked tokens from `start` on."""

    ids: tuple[int, ...]
    start: int  # index of the first completion token, or 1 where all are learned: nothing predicts the first
    masked: frozenset[int] = frozenset()  # indices, none before `start`, none of the EOS

    @property
    def loss_tokens(self) -> int:
        return len(self.ids) - self.start - len(self.masked)

    def learns(self, at: int) -> bool:
        """Whether loss falls on the token at this index."""
        return at >= self.start and at not in self.masked


def tokenize_rows(
    tokenizer: Any,
    texts: Sequence[TrainingText],
    max_length: int,
    eos: int,
    loss: Literal["completion", "all"] = "completion",
    names: Sequence[str] | None = None,
) -> list[TokenizedRow]:
    """Tokenize prompt and completion as one text and find the boundary by token offsets.

    The trained prompt must be the very tokens that the sampler is given for it. Where a token of the joint
    text straddles the boundary, or the joint text changes tokens before it, the completion is tokenized
    alone, behind the sampler's prompt tokens, which is how sampled text continues a prompt. Where those
    tokens do not spell the completion, and for rows that are empty, too long or masked to the last token:
    ValueError naming the row. The tokens are the same wherever loss falls: a token that is partly masked
    text is masked. `names`: what errors call the rows; None: by their numbers.
    """
    if not texts:
        raise ValueError("The training set is empty: there is nothing to train on.")
    prompts = prompt_ids(tokenizer, [text.prompt for text in texts])
    whole = [text.prompt + text.completion for text in texts]
    joint = encode(tokenizer, whole, offsets=True, mask=True)
    rows: list[TokenizedRow] = []
    called = names or [f"Training row {number}" for number in range(len(texts))]
    for name, text, prompt, encoded in zip(called, texts, prompts, joint, strict=True):
        ids, offsets = list(encoded["input_ids"]), encoded["offset_mapping"]
        special = encoded["special_tokens_mask"]
        if not prompt or not text.completion:
            raise ValueError(f"{name} has an empty prompt or completion.")
        boundary = len(text.prompt)
        start = _completion_start(offsets, special, boundary)
        if text.parts:
            completion, places = _completion_in_parts(tokenizer, text, prompt)
        elif ids[:start] == prompt and offsets[start][0] >= boundary:
            end = len(ids) - (1 if special[-1] else 0)  # some tokenizers add an EOS of their own
            completion = ids[start:end]
            places = [(first - boundary, last - boundary) for first, last in offsets[start:end]]
        else:
            completion, places = _completion_alone(tokenizer, text, prompt, name)
        row = _row(prompt, completion, _last_token(tokenizer, text, eos, name), max_length, name)
        row = replace(row, masked=_masked(text, places, len(prompt), name))
        rows.append(row if loss == "completion" else replace(row, start=1))
    return rows


def fitting_rows(
    tokenizer: Any,
    texts: Sequence[TrainingText],
    max_length: int,
    eos: int,
    loss: Literal["completion", "all"] = "completion",
) -> list[TokenizedRow]:
    """Tokenize rows as `tokenize_rows` does, without those longer than `max_length`. ValueError
    if all are.
    """
    rows = tokenize_rows(tokenizer, texts, sys.maxsize, eos, loss)
    fitting = [row for row in rows if len(row.ids) <= max_length]
    if not fitting:
        raise ValueError(
            f"All {len(rows)} training rows have more tokens, {min(len(row.ids) for row in rows)} or more, "
            f"than training.max_length = {max_length}. Raise it, or shorten the prompts."
        )
    return fitting


def _completion_start(offsets: Sequence[tuple[int, int]], special: Sequence[int], boundary: int) -> int:
    """Index of the first token that reaches behind the prompt's characters."""
    for index, ((_, end), added) in enumerate(zip(offsets, special, strict=True)):
        if end > boundary and not added:
            return index
    return len(offsets) - 1


def _completion_in_parts(
    tokenizer: Any, text: TrainingText, prompt: list[int]
) -> tuple[list[int], list[tuple[int, int]]]:
    """Tokens of a completion in parts, each with the characters of its part."""
    completion, places, begin = list[int](), list[tuple[int, int]](), 0
    for part, ids in zip(text.parts, parts_ids(tokenizer, prompt, text.parts), strict=True):
        completion += ids
        places += [(begin, begin + len(part.text))] * len(ids)
        begin += len(part.text)
    return completion, places


def _completion_alone(
    tokenizer: Any, text: TrainingText, prompt: list[int], name: str
) -> tuple[list[int], list[tuple[int, int]]]:
    """Tokens of the completion by itself, and the characters that each stands for."""
    alone = tokenizer(text.completion, add_special_tokens=False, return_offsets_mapping=True)
    completion: list[int] = alone["input_ids"]
    if text_after(tokenizer, prompt, completion, special=True) != text.completion:
        raise ValueError(
            f"{name}: a token straddles the end of the prompt (…{text.prompt[-20:]!r} + "
            f"{text.completion[:20]!r}…), and the completion cannot be told apart. Let the prompt end where "
            "a word ends: move white space from its end to the start of the completion."
        )
    return completion, alone["offset_mapping"]


def _last_token(tokenizer: Any, text: TrainingText, eos: int, name: str) -> int:
    """The token that the row ends with: EOS, or the one that the text names."""
    if text.end is None:
        return eos
    found: list[int] = tokenizer(text.end, add_special_tokens=False)["input_ids"]
    if len(found) != 1:
        raise ValueError(f"{name} is to end with {text.end!r}, which is no token of the base model.")
    return found[0]


def _masked(text: TrainingText, places: Sequence[tuple[int, int]], first: int, name: str) -> frozenset[int]:
    """Indices of the tokens that reach into masked text; `first`: the index of the completion's first one.

    A token begins where the one before it ended: some tokenizers leave white space out of their offsets.
    """
    if not text.masked:
        return frozenset()
    found = set()
    ended = 0
    for index, (start, end) in enumerate(places, start=first):
        begin, ended = min(start, ended), max(end, ended)
        if any(begin < span_end and span_start < max(end, begin + 1) for span_start, span_end in text.masked):
            found.add(index)
    if len(found) == len(places):
        raise ValueError(
            f"{name} has no token that is learned: all of its completion is masked. "
            "Leave the row out, or mask less of it."
        )
    return frozenset(found)


def _row(prompt: list[int], completion: list[int], eos: int, max_length: int, name: str) -> TokenizedRow:
    ids = (*prompt, *completion, eos)
    if len(ids) > max_length:
        raise ValueError(
            f"{name} has {len(ids)} tokens ({len(prompt)} of the prompt, "
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


def batches(
    lengths: Sequence[int], batch_size: int, batch_tokens: int | None, seed: int, first: int = 0
) -> Iterator[list[int]]:
    """Row numbers of step after step, without end, from the step numbered `first` on.

    batch_tokens: as many of the next rows as it holds, one at least; the rows come in the order in which
    batches of `batch_size` would take them. Rows of a batch never read each other: see batch_plan.
    """
    if batch_tokens is None:
        yield from (batch_of_step(len(lengths), batch_size, seed, step) for step in count(first))
        return
    batch: list[int] = []
    room, step = batch_tokens, 0
    for place in count():
        row = _order(len(lengths), seed, place // len(lengths))[place % len(lengths)]
        if batch and lengths[row] > room:
            if step >= first:
                yield batch
            batch, room, step = [], batch_tokens, step + 1
        batch.append(row)
        room -= lengths[row]


@lru_cache(maxsize=4)
def _order(rows: int, seed: int, epoch: int) -> tuple[int, ...]:
    order = list(range(rows))
    random.Random(f"{seed}/{epoch}").shuffle(order)
    return tuple(order)
