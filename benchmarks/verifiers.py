"""Precision and recall of the verifiers: python -m benchmarks.verifiers [--cases FILE] [--data FOLDER]

Measured on the labelled answers of the tests, on files of your own in the same form (--cases), and on what
people wrote: all solutions of GSM8K's train split, with and without the line that marks the answer, and the
published few-shot rationales, where every text is right (--data, or the variable STAR_TEST_DATA, names the
folder; it is read in place).
"""

from __future__ import annotations

import argparse
import json
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.labelled_answers import Row, measure, read_rows, table

LABELLED = Path(__file__).parent.parent / "tests/star_engine/tasks/labelled"
_CHOICE_BLOCK = re.compile(
    r"Q: .+?\nAnswer Choices:\n(?P<choices>(?:\([a-z]\) [^\n]+\n)+)A: ?(?P<rationale>.+)", re.DOTALL
)


def main() -> None:
    """Print a table for each set."""
    parser = argparse.ArgumentParser(description="Precision and recall of the verifiers.")
    parser.add_argument("--cases", type=Path, nargs="*", default=[], help="labelled rows, JSONL or JSON")
    parser.add_argument("--data", type=Path, default=os.environ.get("STAR_TEST_DATA"), help="published data")
    parser.add_argument("--failures", action="store_true", help="print each row judged otherwise")
    arguments = parser.parse_args()
    for path in [*sorted(LABELLED.glob("*.jsonl")), *arguments.cases]:
        _report(path.stem, read_rows(path), failures=arguments.failures)
    if arguments.data:
        folder = Path(arguments.data)
        _report("gsm8k, all human solutions", list(_gsm8k(folder)), failures=arguments.failures)
        _report("gsm8k without its answer line", list(_unmarked(folder)), failures=arguments.failures)
        _report("published few-shot rationales", list(_few_shot(folder)), failures=arguments.failures)
        _report(
            "commonsenseqa, the paper's ending", list(_commonsenseqa(folder)), failures=arguments.failures
        )


def _report(name: str, rows: list[Row], *, failures: bool) -> None:
    begun = time.perf_counter()
    figures = measure(rows)
    each = (time.perf_counter() - begun) / max(1, len(rows))
    print(f"\n## {name}: {len(rows)} rows, {1000 * each:.2f} ms each\n")
    print("\n".join(table(figures)))
    for of_kind in figures.values() if failures else ():
        for what, found in (("accepted", of_kind.wrongly_accepted), ("lost", of_kind.lost)):
            for row, verdict in found:
                print(f"\n{what}: {row['answer']!r}, {verdict.verdict} ({verdict.rule})\n{row['completion']}")


def _gsm8k(folder: Path) -> Iterator[Row]:
    with (folder / "gsm8k_train.jsonl").open(encoding="utf-8") as lines:
        for line in lines:
            solution = json.loads(line)["answer"]
            gold = solution.rpartition("#### ")[2]
            yield {"kind": "numeric", "completion": solution, "answer": gold, "want": "correct"}


def _unmarked(folder: Path) -> Iterator[Row]:
    """Every solution without its last line, "#### 72"; and again for each other number of its last sentence.

    What people end a solution with when nobody asks for a form: "Natalia sold 48+24 = 72 clips altogether."
    """
    for row in _gsm8k(folder):
        solution, gold = row["completion"].rpartition("\n####")[0], row["answer"].replace(",", "")
        yield {**row, "completion": solution}
        last = re.sub(r"<<[^<>]*>>", "", solution.rpartition("\n")[2]).replace(",", "")
        for other in dict.fromkeys(re.findall(r"(?<![\d.])\d+(?:\.\d+)?(?![\d.])", last)):
            if float(other) != float(gold):
                yield {**row, "completion": solution, "answer": other, "want": "not_correct"}


def _few_shot(folder: Path) -> Iterator[Row]:
    for block in (folder / "gsm8k_prompts.txt").read_text(encoding="utf-8").split("\n\nQ: "):
        rationale = block.partition("\nA:")[2]
        gold = rationale.rpartition("#### ")[2].strip()
        yield {"kind": "numeric", "completion": rationale, "answer": gold, "want": "correct"}
    for block in (folder / "commonsenseqa_prompts.txt").read_text(encoding="utf-8").split("\n\n"):
        found = _CHOICE_BLOCK.match(block.strip())
        if found:
            choices = [line[4:] for line in found["choices"].strip().split("\n")]
            letter = found["rationale"].strip()[-3]
            yield _choice(found["rationale"], letter, choices)


def _commonsenseqa(folder: Path) -> Iterator[Row]:
    """Every gold answer as a right and as a wrong rationale of the paper's form would end."""
    with (folder / "commonsenseqa_train.jsonl").open(encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            texts = [choice["text"] for choice in row["question"]["choices"]]
            gold = ord(row["answerKey"].lower()) - ord("a")
            other = (gold + 1) % len(texts)
            for stated in (gold, other):
                right = texts[stated].casefold() == texts[gold].casefold()
                ending = f"Therefore, the answer is {texts[stated]} ({chr(ord('a') + stated)})."
                yield {
                    **_choice(ending, row["answerKey"], texts),
                    "want": "correct" if right else "not_correct",
                }


def _choice(completion: str, answer: str, choices: list[str]) -> Row:
    return {
        "kind": "choice",
        "completion": completion,
        "answer": answer,
        "choices": choices,
        "want": "correct",
    }


if __name__ == "__main__":
    main()
