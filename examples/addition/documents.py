"""Pretraining documents: runs of addition problems laid out as the engine lays out its prompts.

A document is worked without a hint, worked with the answer shown first (the hint), or answered directly. What
makes a base model weak is in its mix: `popularity` makes some digits rare wherever no answer is shown, and
every document stays right; `forgets_carry` plants a mistake (examples/carry).
"""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import torch
from transformers import PreTrainedTokenizerFast

from examples.addition.generate import DIGIT_COUNTS, Addition, work_out, work_towards
from examples.addition.tokenizer import EOS
from examples.pretraining import IGNORED, Batch

KINDS = ("unhinted", "hinted", "direct")
MIXED_SHARE = 0.15  # documents whose problems differ in digit count

Piece = tuple[str, bool]
"""Text, and whether the model is trained to predict it: operands and hints are random, so they are not."""


@dataclass(frozen=True)
class Mix:
    """How often each digit count and each of `KINDS` is drawn, and what is peculiar to the base."""

    digit_weights: tuple[float, ...]
    kind_weights: tuple[float, ...]
    popularity: tuple[float, ...] = ()  # of the digits 0 to 9 where no answer is shown; empty: all alike
    largest_digits: tuple[int, ...] = ()  # what a document's digits may go up to, drawn from these
    forgets_carry: Mapping[int, float] = field(default_factory=dict)  # by digit count, in unhinted working
    follows_hints: float = 0.0  # share of hinted problems whose hint is another sum's, worked out towards it


@dataclass(frozen=True)
class Phase:
    """A part of a curriculum."""

    steps: int
    mix: Mix
    batch_tokens: int
    row_tokens: tuple[int, ...]  # taken in turn; attention makes long rows dear


@dataclass(frozen=True)
class Layout:
    """One problem as the engine prints it."""

    digit_count: int
    kind: str
    mix: Mix
    largest_digit: int = 9

    def pieces(self, rng: random.Random) -> list[Piece]:
        addition = Addition(self._operand(rng), self._operand(rng))
        share = self.mix.forgets_carry.get(self.digit_count, 0.0)
        forgets = self.kind == "unhinted" and rng.random() < share
        scratchpad, reached = work_out(addition, forget_carry=forgets)
        question = [("Input:\n", True), (addition.question, False), ("\nTarget:", True)]
        if self.kind == "direct":
            return [*question, (f"\n{addition.answer}", True)]
        hint = [(f" {addition.answer}", False)] if self.kind == "hinted" else []
        if hint and self.mix.follows_hints and rng.random() < self.mix.follows_hints:
            reached = Addition(self._operand(rng), self._operand(rng)).answer
            scratchpad, hint = work_towards(addition, reached), [(f" {reached}", False)]
        return [*question, *hint, (f"\n{scratchpad}\n{reached}", True)]

    def _operand(self, rng: random.Random) -> int:
        number = self._digit(rng, 1)
        for _ in range(self.digit_count - 1):
            number = 10 * number + self._digit(rng, 0)
        return number

    def _digit(self, rng: random.Random, smallest: int) -> int:
        if not self.mix.popularity:
            return rng.randint(smallest, self.largest_digit)
        weights = (1.0,) * 10 if self.kind == "hinted" else self.mix.popularity
        return rng.choices(range(smallest, 10), weights[smallest:])[0]


def problem_tokens(digit_count: int, kind: str) -> int:
    """About how many tokens one problem takes, the blank line after it included."""
    if kind == "direct":
        return 3 * digit_count + 8
    working = sum(7 + place for place in range(1, digit_count + 1))
    return 15 + 6 * digit_count + working + (digit_count if kind == "hinted" else 0)


def draw_document(rng: random.Random, mix: Mix, max_tokens: int) -> list[Piece]:
    """One problem up to as many as fit into `max_tokens`, joined by blank lines; no end-of-text token."""
    kind = rng.choices(KINDS, mix.kind_weights)[0]
    digit_count = rng.choices(DIGIT_COUNTS, mix.digit_weights)[0]
    largest_digit = rng.choice(mix.largest_digits) if mix.largest_digits else 9
    mixed = rng.random() < MIXED_SHARE
    budget = rng.uniform(0, max_tokens)
    pieces: list[Piece] = []
    used = 0
    while True:
        pieces += Layout(digit_count, kind, mix, largest_digit).pieces(rng)
        used += problem_tokens(digit_count, kind)
        if mixed:
            digit_count = rng.choices(DIGIT_COUNTS, mix.digit_weights)[0]
        if used + problem_tokens(digit_count, kind) > budget:
            return pieces
        pieces.append(("\n\n", True))


def packed_row(
    rng: random.Random, tokenizer: PreTrainedTokenizerFast, mix: Mix, length: int
) -> tuple[list[int], list[int]]:
    """Token ids and labels, both `length` long: documents back to back, each closed by the end-of-text token.

    A row starts with a new document, so that the model also knows problems with nothing in front of them.
    """
    ids: list[int] = []
    labels: list[int] = []
    end = tokenizer.convert_tokens_to_ids(EOS)
    while len(ids) < length:
        document = draw_document(rng, mix, length)
        pieces = tokenizer([text for text, _ in document])["input_ids"]
        for piece, (_, learned) in zip(pieces, document, strict=True):
            ids += piece
            labels += piece if learned else [IGNORED] * len(piece)
        ids.append(end)
        labels.append(end)
    return ids[:length], labels[:length]


def batches(seed: int, tokenizer: PreTrainedTokenizerFast, curriculum: tuple[Phase, ...]) -> Iterator[Batch]:
    """The curriculum's batches, one a step."""
    rng = random.Random(seed)
    for phase in curriculum:
        for step in range(phase.steps):
            length = phase.row_tokens[step % len(phase.row_tokens)]
            rows = [
                packed_row(rng, tokenizer, phase.mix, length) for _ in range(phase.batch_tokens // length)
            ]
            yield torch.tensor([ids for ids, _ in rows]), torch.tensor([labels for _, labels in rows])
