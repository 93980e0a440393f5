"""What the trainers are raced on: rows as long as GSM8K's, additions, and rows behind few-shot examples."""

from __future__ import annotations

import random
import re

from examples.addition.generate import draw_addition, work_out
from star_engine.protocols import TrainingText

# Words that are one token with the space before them in most vocabularies: a text's length is its word count.
WORDS = re.findall(
    r"\w+",
    "the a she he they sold bought gave had more than half twice each day week year apples books cars "
    "eggs  for in of to and is are was will money dollars hours miles how many much then so total left "
    "every other  one two three four five six seven eight nine ten first last new old red blue big "
    "small ",
)

FEW_SHOT_TOKENS = 616  # of the paper's few-shot examples for CommonsenseQA


def word_problems(count: int, seed: int = 0) -> list[TrainingText]:
    """Questions and rationales with the token counts of GSM8K's train split, read with SmolLM2's vocabulary:
    medians of 61 and 85, half of them from 49 to 76 and from 62 to 115."""
    rng = random.Random(seed)
    return [
        TrainingText(f"Q:{_text(rng, 61, 0.32)}?\nA:", f"{_text(rng, 85, 0.45)}.\n#### {rng.randint(1, 500)}")
        for _ in range(count)
    ]


def _text(rng: random.Random, median: int, spread: float) -> str:
    words = max(8, min(400, round(median * rng.lognormvariate(0, spread)) - 4))
    return "".join(f" {rng.choice(WORDS)}" for _ in range(words))


def additions(count: int, seed: int = 0) -> list[TrainingText]:
    """Sums of one to four digits with their working, as examples/addition trains on them."""
    rng = random.Random(seed)
    drawn = [draw_addition(rng, rng.randint(1, 4)) for _ in range(count)]
    worked = ((addition, *work_out(addition)) for addition in drawn)
    return [
        TrainingText(f"Input:\n{addition.question}\nTarget:", f"\n{working}\n{answer}")
        for addition, working, answer in worked
    ]


def behind_few_shots(rows: list[TrainingText]) -> list[TrainingText]:
    """The same rows with the same few-shot examples before every question."""
    rng = random.Random(-1)
    # Seven with a rationale each; a word is a token, and there are 7 more in a block than words.
    shots = [f"Q:{_text(rng, 50, 0)}?\nA:{_text(rng, 37, 0)}." for _ in range(7)]
    prefix = "\n\n".join(shots)
    return [TrainingText(f"{prefix}\n\n{row.prompt}", row.completion) for row in rows]
