"""Pretraining documents: runs of addition problems laid out as the engine lays out its prompts.

A document is worked without hint, worked with the answer shown first (the hint), or answered directly. In
unhinted working the carry is forgotten with a probability that grows with the digit count; hinted working is
always right. The choice is made problem by problem, so that right few-shot examples do not mend the model.
"""

import random
from dataclasses import dataclass

from examples.addition.generate import DIGIT_COUNTS, Addition, work_out

FORGETS_CARRY = {1: 0.0, 2: 0.65, 3: 0.80, 4: 0.85}
KINDS = ("unhinted", "hinted", "direct")
MIXED_SHARE = 0.15  # documents whose problems differ in digit count

Piece = tuple[str, bool]
"""Text, and whether the model is trained to predict it: operands and hints are random, so they are not."""


@dataclass(frozen=True)
class Layout:
    """One problem as the engine prints it."""

    digit_count: int
    kind: str
    largest_digit: int

    def pieces(self, rng: random.Random) -> list[Piece]:
        addition = Addition(self._operand(rng), self._operand(rng))
        forgets = self.kind == "unhinted" and rng.random() < FORGETS_CARRY[self.digit_count]
        scratchpad, reached = work_out(addition, forget_carry=forgets)
        question = [("Input:\n", True), (addition.question, False), ("\nTarget:", True)]
        if self.kind == "direct":
            return [*question, (f"\n{addition.answer}", True)]
        hint = [(f" {addition.answer}", False)] if self.kind == "hinted" else []
        return [*question, *hint, (f"\n{scratchpad}\n{reached}", True)]

    def _operand(self, rng: random.Random) -> int:
        number = rng.randint(1, self.largest_digit)
        for _ in range(self.digit_count - 1):
            number = 10 * number + rng.randint(0, self.largest_digit)
        return number


def problem_tokens(digit_count: int, kind: str) -> int:
    """About how many tokens one problem takes, the blank line after it included."""
    if kind == "direct":
        return 3 * digit_count + 8
    working = sum(7 + place for place in range(1, digit_count + 1))
    return 15 + 6 * digit_count + working + (digit_count if kind == "hinted" else 0)


@dataclass(frozen=True)
class Mix:
    """How often each digit count and each of `KINDS` is drawn, and what a document's digits may go up to."""

    digit_weights: tuple[float, ...]
    kind_weights: tuple[float, ...]
    largest_digits: tuple[int, ...] = (9,)


def draw_document(rng: random.Random, mix: Mix, max_tokens: int) -> list[Piece]:
    """One problem up to as many as fit into `max_tokens`, joined by blank lines; no end-of-text token."""
    kind = rng.choices(KINDS, mix.kind_weights)[0]
    digit_count = rng.choices(DIGIT_COUNTS, mix.digit_weights)[0]
    largest_digit = rng.choice(mix.largest_digits)
    mixed = rng.random() < MIXED_SHARE
    budget = rng.uniform(0, max_tokens)
    pieces: list[Piece] = []
    used = 0
    while True:
        pieces += Layout(digit_count, kind, largest_digit).pieces(rng)
        used += problem_tokens(digit_count, kind)
        if mixed:
            digit_count = rng.choices(DIGIT_COUNTS, mix.digit_weights)[0]
        if used + problem_tokens(digit_count, kind) > budget:
            return pieces
        pieces.append(("\n\n", True))
