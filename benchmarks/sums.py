"""The load of the sampling and iteration benchmarks: sums of 1 to 3 digits, worked out one line a digit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from examples.addition.generate import Addition, dataset_rows, draw_dataset, draw_prompt_set
from star_engine.tasks.examples import Example, FewShotExample, PromptSet
from star_engine.tasks.kind import Kind

KIND = Kind.SCRATCHPAD


@dataclass(frozen=True)
class Task:
    train: tuple[Example, ...]
    held_out: tuple[Example, ...]
    prompt_set: PromptSet


def make_task(digits: Sequence[int], shots: int, train: int, held_out: int) -> Task:
    """Sums and few-shot examples of examples/addition. shots, train, held_out: of each digit count."""
    shown = draw_prompt_set(0, digits, shots)
    rows = dataset_rows(draw_dataset(0, digits, train, held_out, shown))
    split: dict[str, list[Example]] = {"train": [], "validation": []}
    for row in rows:
        split[row["split"]].append(Example(row["id"], row["question"], row["answer"], None, row["group"]))
    few_shot = tuple(
        FewShotExample(one.question, scratchpad(one), one.answer, None, str(one.digit_count)) for one in shown
    )
    return Task(tuple(split["train"]), tuple(split["validation"]), PromptSet(KIND, few_shot))


def scratchpad(addition: Addition) -> str:
    """One sum a line from the right, each with the carry into it; the answer on the last line.

    Shorter than the paper's: 54 tokens for three digits.
    """
    lines, carry = [], 0
    for left, right in zip(str(addition.left)[::-1], str(addition.right)[::-1], strict=True):
        total = int(left) + int(right) + carry
        lines.append(f"{left} + {right} + {carry} = {total}")
        carry = total // 10
    return "\n".join(["<scratch>", *lines, "</scratch>", addition.answer])
