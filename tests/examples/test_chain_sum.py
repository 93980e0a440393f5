"""reasoning-gym's chains as a task of the service, from items as version 0.1.25 of the package drew them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from examples.reasoning_gym.chain_sum import SHOTS, split, work_out, write_task
from star_engine.config.presets import preset_config
from star_engine.data.validation import check_data
from star_engine.load import load_dataset, load_prompt_set
from star_engine.tasks.kind import Kind

# create_dataset("chain_sum", seed=0, size=14, min_terms=2, max_terms=4, min_digits=1, max_digits=2)
DRAWN = [
    ("15 - 43 - 75", "-103"),
    ("4 - 1", "3"),
    ("1 + 5", "6"),
    ("5 - 9", "-4"),
    ("23 - 60", "-37"),
    ("55 + 98 - 93 + 77", "137"),
    ("7 + 4 - 0 - 0", "11"),
    ("6 + 0 - 1", "5"),
    ("58 + 26", "84"),
    ("44 + 27 - 33", "38"),
    ("6 + 7 - 9 - 0", "4"),
    ("67 + 75 + 85", "227"),
    ("94 - 77 + 95", "112"),
    ("97 + 97 + 33", "227"),
]


def item(index: int, expression: str, answer: str) -> Mapping[str, Any]:
    metadata = {"source_index": index, "num_terms": len(expression.split()[::2]), "expression": expression}
    question = f"State the final answer to the following arithmetic problem: {expression} ="
    return {"question": question, "answer": answer, "metadata": metadata}


ITEMS = [item(index, *drawn) for index, drawn in enumerate(DRAWN)]


@pytest.mark.parametrize(("expression", "answer"), DRAWN)
def test_the_working_reaches_the_answer_of_the_package(expression: str, answer: str) -> None:
    *steps, last = work_out(expression).split("\n")
    assert last == f"#### {answer}"
    assert steps[0].count("=") == len(expression.split()[1::2])


def test_what_is_written_is_a_dataset_and_a_prompt_set_of_the_service(tmp_path: Path) -> None:
    dataset, prompts = write_task(tmp_path, ITEMS, validation=3)
    train, held_out = load_dataset(dataset, Kind.NUMERIC)
    shown = load_prompt_set(prompts, Kind.NUMERIC)
    assert (len(train), len(held_out)) == (len(DRAWN) - 3 * SHOTS - 3, 3)
    assert [one.group for one in shown.examples] == ["2", "2", "3", "3", "4", "4"]
    check_data(preset_config("quick", Kind.NUMERIC), shown, train, held_out)
    for one in shown.examples:
        assert work_out(one.question.partition(": ")[2].removesuffix(" =")) == one.rationale


def test_a_question_that_is_drawn_twice_is_in_one_part_alone() -> None:
    again = [item(100 + index, *drawn) for index, drawn in enumerate(DRAWN)]
    shown, rows = split([*ITEMS, *again], validation=3)
    questions = [one["question"] for one in (*shown, *rows)]
    assert len(questions) == len(set(questions)) == len(DRAWN)
