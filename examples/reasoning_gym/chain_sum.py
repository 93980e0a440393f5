"""Chains of sums and differences from reasoning-gym, as a dataset and a prompt set for the service.

    pip install reasoning-gym==0.1.25
    python -m examples.reasoning_gym.chain_sum --out .star/chain-sum
    star datasets upload .star/chain-sum/dataset.jsonl --kind numeric
    star prompt-sets create .star/chain-sum/prompt_set.json

Questions and answers are the package's; the working of the few-shot examples, one operation after the other,
is written here. A row's group is its number of terms, so that a curriculum can begin with short chains.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

TERMS, DIGITS = (2, 6), (1, 2)
SHOTS = 2  # few-shot examples of each number of terms
Item = Mapping[str, Any]  # as reasoning_gym.create_dataset("chain_sum") yields them


def draw(seed: int, size: int) -> Iterable[Item]:
    """So many chains; the package is imported here, since nothing else needs it."""
    import reasoning_gym  # type: ignore[import-not-found, unused-ignore]

    low, high = {"terms": TERMS[0], "digits": DIGITS[0]}, {"terms": TERMS[1], "digits": DIGITS[1]}
    limits = {f"min_{name}": value for name, value in low.items()}
    limits |= {f"max_{name}": value for name, value in high.items()}
    found: Iterable[Item] = reasoning_gym.create_dataset("chain_sum", seed=seed, size=size, **limits)
    return found


def work_out(expression: str) -> str:
    """The working of a chain, one operation after the other, and its answer: "4 - 9 = -5. -5 + 2 = -3."."""
    first, *rest = expression.split()
    reached, steps = int(first), []
    for sign, term in zip(rest[::2], rest[1::2], strict=True):
        total = reached + int(term) if sign == "+" else reached - int(term)
        steps.append(f"{reached} {sign} {term} = {total}.")
        reached = total
    return f"{' '.join(steps)}\n#### {reached}"


def example_of(item: Item) -> dict[str, str]:
    """The question, the answer and the group of an item."""
    terms = str(item["metadata"]["num_terms"])
    return {"question": item["question"], "answer": item["answer"], "group": terms}


def split(items: Iterable[Item], validation: int) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """Few-shot examples and rows. Each question is once in both together, which the package does not see to.

    The first of each number of terms are shown; of the others so many are held out, the rest is for training.
    """
    shown: dict[str, list[dict[str, str]]] = {}
    rows: list[dict[str, str]] = []
    for item in distinct(items):
        example = example_of(item)
        group = shown.setdefault(example["group"], [])
        if len(group) < SHOTS:
            group.append(example | {"rationale": work_out(item["metadata"]["expression"])})
            continue
        part = "validation" if len(rows) < validation else "train"
        rows.append({"id": f"chain_sum-{item['metadata']['source_index']}", **example, "split": part})
    return [example for count in sorted(shown) for example in shown[count]], rows


def distinct(items: Iterable[Item]) -> Iterator[Item]:
    seen = set[str]()
    for item in items:
        if item["question"] not in seen:
            seen.add(item["question"])
            yield item


def write_task(out: Path, items: Iterable[Item], validation: int) -> tuple[Path, Path]:
    """Write dataset.jsonl and prompt_set.json."""
    shown, rows = split(items, validation)
    out.mkdir(parents=True, exist_ok=True)
    dataset_file, prompt_file = out / "dataset.jsonl", out / "prompt_set.json"
    dataset_file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    prompts = {"kind": "numeric", "examples": shown}
    prompt_file.write_text(json.dumps(prompts, indent=2) + "\n", encoding="utf-8")
    return dataset_file, prompt_file


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for the two files")
    parser.add_argument("--size", type=int, default=1000, help="chains that are drawn")
    parser.add_argument("--validation", type=int, default=200, help="of them, held out")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    print("wrote", *write_task(chosen.out, draw(chosen.seed, chosen.size), chosen.validation))


if __name__ == "__main__":
    main()
