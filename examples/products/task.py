"""Products of two numbers of two digits, and a base model that works them out badly and has a tool.

In its documents a text says a product by hand, mostly a wrong one, and answers with it. Where a sentence of
the hint library stands behind that, a fenced block of Python follows, its output, and the output as the
answer; behind another sentence none does. Such sentences are given and not learned, so that the model rarely
begins a call by itself: in OWN_CALLS of the texts without a given sentence it does, and learns that, too.
"""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

from transformers import PreTrainedTokenizerFast

from examples.addition.tokenizer import EOS, PAD, UNKNOWN, word_level
from star_engine.config.tools import HintGroup
from star_engine.sampling.hint_library import LIBRARY

GROUPS = (HintGroup.GENERAL, HintGroup.CALCULATION, HintGroup.CHECK)  # of the preset `start`
CALLING = tuple(text for group in GROUPS for text in LIBRARY[group])
OTHER = (
    "Let me look at the two numbers once more.",
    "It is good to write this in a clear way.",
    "Wait, this is a problem of two numbers.",
)
RIGHT_BY_HAND = 0.3
OWN_CALLS = 0.01
KINDS = {"by hand": 0.5, "calling sentence": 0.35, "other sentence": 0.15}
SHOTS = 3
PATTERN = r"Q:|A:|####|```python|```output|```| \*| ?[0-9]| ?[A-Za-z]+|[\s\S]"

Piece = tuple[str, bool]
"""Text, and whether the base model is trained to predict it."""


def by_hand(a: int, b: int, reached: int) -> str:
    return f"{a} * {b} is {reached}."


def misjudged(rng: random.Random, product: int) -> int:
    """The product, or one with another digit in it."""
    if rng.random() < RIGHT_BY_HAND:
        return product
    digits = list(str(product))
    place = rng.randrange(1, len(digits))
    digits[place] = rng.choice([one for one in "0123456789" if one != digits[place]])
    return int("".join(digits))


def draw_problem(rng: random.Random) -> list[Piece]:
    a, b = rng.randint(10, 99), rng.randint(10, 99)
    reached = misjudged(rng, a * b)
    asked: list[Piece] = [("Q:", True), (f" {a} * {b}", False), ("\nA:", True)]
    worked = (f" {by_hand(a, b, reached)}", True)
    kind = rng.choices(list(KINDS), list(KINDS.values()))[0]
    own = kind == "by hand" and rng.random() < OWN_CALLS
    if own or kind == "calling sentence":
        called = (f"\n{rng.choice(CALLING)}\n```python\n", own)
        return [*asked, worked, called, *computed(a, b)]
    between = [(f"\n{rng.choice(OTHER)}", False)] if kind == "other sentence" else []
    return [*asked, worked, *between, (f"\n#### {reached}", True)]


def computed(a: int, b: int) -> list[Piece]:
    """What follows an opened fence: a call, its output, and the answer."""
    output = (f"```output\n{a * b}\n```\n", False)
    return [(f"print({a} * {b})\n```\n", True), output, (f"#### {a * b}", True)]


def build_tokenizer(max_length: int) -> PreTrainedTokenizerFast:
    """Digits and the words of the sentences are one token each."""
    texts = " ".join((*CALLING, *OTHER, "is", "print", "Error"))
    spoken = sorted({form for word in re.findall("[A-Za-z]+", texts) for form in (word, f" {word}")})
    marks = ["Q:", "A:", "####", "```python", "```output", "```", " *", *(f" {digit}" for digit in range(10))]
    words = [PAD, EOS, UNKNOWN, *marks, *(word for word in spoken if len(word) > 1)]
    words += [character for character in map(chr, range(32, 127)) if character not in words] + ["\n"]
    return word_level(words, PATTERN, max_length)


def write_task(out: Path, *, train: int, validation: int, seed: int) -> tuple[Path, Path]:
    """Write dataset.jsonl and prompt_set.json, whose rationales are by hand and right. No product is in two
    of the parts.
    """
    rng = random.Random(f"products {seed}")
    drawn: dict[str, tuple[int, int]] = {}
    while len(drawn) < train + validation + SHOTS:
        a, b = rng.randint(10, 99), rng.randint(10, 99)
        drawn[f"{a} * {b}"] = (a, b)
    asked = list(drawn.items())
    rows = [
        {
            "id": question.replace(" ", ""),
            "question": question,
            "answer": str(a * b),
            "split": "validation" if place < validation else "train",
        }
        for place, (question, (a, b)) in enumerate(asked[SHOTS:])
    ]
    examples = [
        {
            "question": question,
            "rationale": f"{by_hand(a, b, a * b)}\n#### {a * b}",
            "answer": str(a * b),
        }
        for question, (a, b) in asked[:SHOTS]
    ]
    out.mkdir(parents=True, exist_ok=True)
    dataset_file, prompt_file = out / "dataset.jsonl", out / "prompt_set.json"
    dataset_file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    prompts = {"kind": "numeric", "examples": examples}
    prompt_file.write_text(json.dumps(prompts, indent=2) + "\n", encoding="utf-8")
    return dataset_file, prompt_file
