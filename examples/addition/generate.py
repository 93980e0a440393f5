"""Addition with scratchpads, the arithmetic task of the STaR paper (section 4.3, figure 3).

    python -m examples.addition.generate --out .star/addition

writes `dataset.jsonl` (questions with answers, no rationales) and `prompt_set.json` (a few worked examples).
"""

import argparse
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Split = Literal["train", "validation"]

DIGIT_COUNTS = (1, 2, 3, 4)
SHOTS_PER_DIGIT_COUNT = 3


@dataclass(frozen=True)
class Addition:
    """Two operands of the same number of digits."""

    left: int
    right: int

    @property
    def digit_count(self) -> int:
        return len(str(self.left))

    @property
    def question(self) -> str:
        return f"{spaced(self.left)} + {spaced(self.right)}"

    @property
    def answer(self) -> str:
        return spaced(self.left + self.right)


def spaced(number: int) -> str:
    return " ".join(str(number))


def draw_addition(rng: random.Random, digit_count: int) -> Addition:
    """Both operands have exactly `digit_count` digits, so one-digit operands are 1 to 9 and never 0."""
    low, high = 10 ** (digit_count - 1), 10**digit_count
    return Addition(rng.randrange(low, high), rng.randrange(low, high))


def work_out(addition: Addition, *, forget_carry: bool = False) -> tuple[str, str]:
    """The scratchpad from <scratch> to </scratch>, byte for byte as in figure 3, and the answer it reaches.

    With `forget_carry` every carry is written as 0 and never added: the mistake the base model is taught.
    """
    pairs = list(zip(str(addition.left)[::-1], str(addition.right)[::-1], strict=True))
    lines = ["<scratch>", f"{addition.question} , C: 0"]
    carry, digits = 0, ""
    for place, (left, right) in enumerate(pairs):
        if place > 0:
            lines.append(f"{left} + {right} , {digits}C: {carry}")
        total = int(left) + int(right) + carry
        carry = 0 if forget_carry else total // 10
        digits = f"{total % 10} {digits}"
    lines += [f", {digits}C: {carry}", f"{carry} {digits}".rstrip(), "</scratch>"]
    answer = digits.rstrip() if carry == 0 else f"{carry} {digits}".rstrip()
    return "\n".join(lines), answer


def work_towards(addition: Addition, answer: str) -> str:
    """The scratchpad of a writer who copies an answer, right or wrong: its digits stand in each line.

    answer: digits with spaces between them, of as many places as the operands or one more.
    """
    given = answer.split()[::-1]
    pairs = list(zip(str(addition.left)[::-1], str(addition.right)[::-1], strict=True))
    lines = ["<scratch>", f"{addition.question} , C: 0"]
    carry, digits = 0, ""
    for place, (left, right) in enumerate(pairs):
        if place > 0:
            lines.append(f"{left} + {right} , {digits}C: {carry}")
        carry = (int(left) + int(right) + carry) // 10
        digits = f"{given[place]} {digits}"
    carry = int(given[len(pairs)]) if len(given) > len(pairs) else 0
    return "\n".join([*lines, f", {digits}C: {carry}", f"{carry} {digits}".rstrip(), "</scratch>"])


def distinct_additions(rng: random.Random, digit_count: int, count: int) -> list[Addition]:
    """`count` different additions in random order; all there are (81 for one digit) where there are fewer."""
    if digit_count == 1:
        every = [Addition(left, right) for left in range(1, 10) for right in range(1, 10)]
        return rng.sample(every, min(count, len(every)))
    found: dict[Addition, None] = {}
    while len(found) < count:
        found[draw_addition(rng, digit_count)] = None
    return list(found)


def draw_prompt_set(seed: int, digit_counts: Sequence[int], shots: int) -> list[Addition]:
    """The few-shot additions, digit count by digit count. Some sum of each group is one digit longer than
    its operands, so that no group shows carry-free working only."""
    rng = random.Random(f"prompt set {seed}")
    chosen: list[Addition] = []
    for digit_count in digit_counts:
        group = distinct_additions(rng, digit_count, shots)
        while not any(len(str(a.left + a.right)) > digit_count for a in group):
            group = distinct_additions(rng, digit_count, shots)
        chosen += group
    return chosen


def draw_dataset(
    seed: int,
    digit_counts: Sequence[int],
    train_per_digit_count: int,
    validation_per_digit_count: int,
    exclude: Sequence[Addition] = (),
) -> list[tuple[Addition, Split]]:
    """No addition is in both splits and none is from `exclude`. There are only 81 one-digit additions: where
    there are too few, at most half are held out and the rest are for training."""
    rng = random.Random(f"dataset {seed}")
    wanted = train_per_digit_count + validation_per_digit_count
    rows: list[tuple[Addition, Split]] = []
    for digit_count in digit_counts:
        pool = distinct_additions(rng, digit_count, wanted + len(exclude))
        pool = [addition for addition in pool if addition not in exclude][:wanted]
        held_out = min(validation_per_digit_count, len(pool) // 2)
        rows += [(addition, "validation") for addition in pool[:held_out]]
        rows += [(addition, "train") for addition in pool[held_out:]]
    return rows


def dataset_rows(rows: Sequence[tuple[Addition, Split]], *, solutions: bool = False) -> list[dict[str, str]]:
    """Questions with answers. With `solutions` train rows have their working too, which STaR never reads."""
    return [
        {
            "id": f"{addition.left}+{addition.right}",
            "question": addition.question,
            "answer": addition.answer,
            "group": str(addition.digit_count),
            "split": split,
        }
        | ({"solution": "\n".join(work_out(addition))} if solutions and split == "train" else {})
        for addition, split in rows
    ]


def prompt_set_examples(additions: Sequence[Addition]) -> list[dict[str, str]]:
    """A rationale is all that follows "Target:", the answer on the last line included."""
    return [
        {
            "question": addition.question,
            "rationale": "\n".join(work_out(addition)),
            "answer": addition.answer,
            "group": str(addition.digit_count),
        }
        for addition in additions
    ]


def write_task(
    out: Path,
    *,
    train: int,
    validation: int,
    seed: int = 0,
    solutions: bool = False,
    digit_counts: Sequence[int] = DIGIT_COUNTS,
    shots: int = SHOTS_PER_DIGIT_COUNT,
) -> tuple[Path, Path]:
    """Write dataset.jsonl with about so many examples of each split, in equal shares by digit count, and
    prompt_set.json. One digit allows 81 - `shots` examples in all, at most half of them held out."""
    prompt_set = draw_prompt_set(seed, digit_counts, shots)
    share = len(digit_counts)
    rows = draw_dataset(seed, digit_counts, train // share, validation // share, prompt_set)
    prompts = {"kind": "scratchpad", "examples": prompt_set_examples(prompt_set)}
    out.mkdir(parents=True, exist_ok=True)
    dataset_file, prompt_file = out / "dataset.jsonl", out / "prompt_set.json"
    lines = [json.dumps(row) + "\n" for row in dataset_rows(rows, solutions=solutions)]
    dataset_file.write_text("".join(lines), encoding="utf-8")
    prompt_file.write_text(json.dumps(prompts, indent=2) + "\n", encoding="utf-8")
    return dataset_file, prompt_file


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the two files")
    parser.add_argument("--train", type=int, default=600, help="training examples")
    parser.add_argument("--validation", type=int, default=200, help="held-out examples")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--solutions", action="store_true", help="train rows with their working as well")
    arguments = parser.parse_args()
    written = write_task(
        arguments.out,
        train=arguments.train,
        validation=arguments.validation,
        seed=arguments.seed,
        solutions=arguments.solutions,
    )
    print("wrote", *written)


if __name__ == "__main__":
    main()
