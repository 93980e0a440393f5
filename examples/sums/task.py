"""Sums of four digits, added in any order: a task with many right texts, and a base model that errs.

A text adds two numbers at a time, "8 + 5 = 13. 13 + 9 = 22.", and may take the terms in any order. In the
documents of the base model a term from the left comes next more often than another, and a sum that crosses
a ten loses it more often than not. So its most likely text is usually wrong; a hotter one is right more
often at first, and differs more.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path

from transformers import PreTrainedTokenizerFast

from examples.addition.tokenizer import EOS, PAD, UNKNOWN, word_level

TERMS = 4
FORGETS_TEN = 0.6  # of the additions that cross a ten, in the base model's documents
FROM_LEFT = 0.6  # of the next terms; else any of the others
SHOTS = 4
PATTERN = r"Q:|A:|####| ?[0-9]{1,2}| [+=]|[\s\S]"


def work_out(rng: random.Random, terms: Sequence[int], *, forgets: float = 0.0) -> tuple[str, int]:
    """The additions of one text, and the number that they reach."""
    left = list(terms)
    total = left.pop(_next(rng, left))
    steps = []
    while left:
        term = left.pop(_next(rng, left))
        reached = total + term
        if reached // 10 > total // 10 and rng.random() < forgets:
            reached -= 10
        steps.append(f"{total} + {term} = {reached}.")
        total = reached
    return " ".join(steps), total


def _next(rng: random.Random, left: Sequence[int]) -> int:
    return 0 if len(left) == 1 or rng.random() < FROM_LEFT else rng.randrange(1, len(left))


def draw_terms(rng: random.Random) -> list[int]:
    return [rng.randint(1, 9) for _ in range(TERMS)]


def question(terms: Sequence[int]) -> str:
    return " + ".join(str(term) for term in terms)


def rationale(text: str, answer: int) -> str:
    return f"{text}\n#### {answer}"


def draw_document(rng: random.Random, most: int) -> str:
    """One to `most` problems as the engine lays them out, with the mistakes of the base model."""
    blocks = []
    for _ in range(rng.randint(1, most)):
        terms = draw_terms(rng)
        blocks.append(f"Q: {question(terms)}\nA: {rationale(*work_out(rng, terms, forgets=FORGETS_TEN))}")
    return "\n\n".join(blocks)


def build_tokenizer(max_length: int) -> PreTrainedTokenizerFast:
    """Numbers below 100 are one token each, so that an addition is a fact to learn."""
    numbers = [str(number) for number in range(100)]
    words = [PAD, EOS, UNKNOWN, "Q:", "A:", "####", " +", " =", *numbers, *(f" {one}" for one in numbers)]
    words += [character for character in map(chr, range(32, 127)) if character not in words] + ["\n"]
    return word_level(words, PATTERN, max_length)


def write_task(out: Path, *, train: int, validation: int, seed: int) -> tuple[Path, Path]:
    """Write dataset.jsonl and prompt_set.json. No sum of the same terms in the same order is in both."""
    rng = random.Random(f"sums {seed}")
    drawn: dict[str, list[int]] = {}
    while len(drawn) < train + validation + SHOTS:
        terms = draw_terms(rng)
        drawn[question(terms)] = terms
    sums = list(drawn.values())
    shown, asked = sums[:SHOTS], sums[SHOTS:]
    rows = [
        {
            "id": "+".join(str(term) for term in terms),
            "question": question(terms),
            "answer": str(sum(terms)),
            "split": "validation" if place < validation else "train",
        }
        for place, terms in enumerate(asked)
    ]
    examples = [
        {
            "question": question(terms),
            "rationale": rationale(*work_out(rng, terms)),
            "answer": str(sum(terms)),
        }
        for terms in shown
    ]
    out.mkdir(parents=True, exist_ok=True)
    dataset_file, prompt_file = out / "dataset.jsonl", out / "prompt_set.json"
    dataset_file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    prompts = {"kind": "numeric", "examples": examples}
    prompt_file.write_text(json.dumps(prompts, indent=2) + "\n", encoding="utf-8")
    return dataset_file, prompt_file
