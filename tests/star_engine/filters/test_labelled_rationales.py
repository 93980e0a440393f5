"""Precision and recall of every filter on rationales that were labelled by hand.

`reject_by` in labelled.jsonl names the filters that should reject the rationale: what a careful reader would
say, not what the filters do. Three rows are known to be judged wrongly and say so in `note`.
"""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from star_engine.filters.registry import FILTERS, REASONS, FilterInput
from star_engine.tasks.programs.tool_use import tool_use_from
from star_engine.tasks.verify import verify

ROWS: list[dict[str, Any]] = [
    json.loads(line) for line in Path(__file__).with_name("labelled.jsonl").read_text().splitlines()
]
# (precision, recall) at least.
FLOORS = {
    "hint_markers": (0.95, 0.9),
    "answer_only": (1.0, 1.0),
    "answer_first": (0.9, 1.0),
    "question_copy": (1.0, 1.0),
    "fewshot_copy": (1.0, 1.0),
    "step_arithmetic": (1.0, 0.9),
    "too_short": (1.0, 1.0),
    "repetition": (1.0, 1.0),
    "tool_fake": (1.0, 1.0),
    "all_calls_failed": (1.0, 1.0),
    "output_ignored": (0.9, 1.0),
}


def _item(row: dict[str, Any]) -> FilterInput:
    return FilterInput(
        question=row["question"],
        answer=row["answer"],
        choices=tuple(row["choices"]) if "choices" in row else None,
        kind=row["kind"],
        route=row["route"],
        completion=row["completion"],
        hint=row.get("hint"),
        fewshot_rationales=tuple(row.get("fewshot_rationales", ())),
        tools=tool_use_from(row.get("tools")),
    )


@pytest.mark.parametrize("name", FILTERS)
def test_a_filter_is_as_precise_and_complete_as_promised(name: str) -> None:
    counts: Counter[str] = Counter()
    misjudged = []
    for row in ROWS:
        should, does = name in row["reject_by"], FILTERS[name](_item(row)) is not None
        counts[
            "right" if should and does else "missed" if should else "false alarm" if does else "passed"
        ] += 1
        if should != does:
            misjudged.append((should, row["completion"]))
    precision = counts["right"] / max(1, counts["right"] + counts["false alarm"])
    recall = counts["right"] / max(1, counts["right"] + counts["missed"])
    floor = FLOORS[name]
    assert (precision >= floor[0], recall >= floor[1]) == (True, True), (precision, recall, misjudged)


def test_the_page_on_data_quality_states_what_is_asserted_here() -> None:
    page = (Path(__file__).parents[3] / "docs" / "data-quality.md").read_text()
    stated = re.findall(r"^\| `(\w+)` \| [^|]+ \| ([\d.]+) \| ([\d.]+) \|$", page, re.MULTILINE)
    assert {name: (float(precise), float(complete)) for name, precise, complete in stated} == FLOORS
    rejected = sum(bool(row["reject_by"]) for row in ROWS)
    assert f"{len(ROWS)} rationales labelled by hand" in page
    assert f"\n{rejected} of them should be rejected" in page


def test_there_are_enough_labels_of_both_kinds_for_every_filter() -> None:
    assert sum(bool(row["reject_by"]) for row in ROWS) >= 20
    assert sum(not row["reject_by"] for row in ROWS) >= 20
    labels = Counter(name for row in ROWS for name in row["reject_by"])
    assert labels.keys() == FILTERS.keys()
    assert min(labels.values()) >= 6


def test_every_labelled_rationale_is_correct_as_far_as_its_verifier_sees() -> None:
    """Filters only ever see correct rationales; a fixture of others would measure nothing."""
    for row in ROWS:
        found = verify(row["kind"], row["completion"], row["answer"], row.get("choices"))
        assert found.is_correct, (found, row["completion"])


def test_a_filter_answers_with_its_own_name_and_every_code_is_in_the_closed_list() -> None:
    for name, one in FILTERS.items():
        answers = {one(_item(row)) for row in ROWS}
        assert answers == {None, name}
        assert name in REASONS
