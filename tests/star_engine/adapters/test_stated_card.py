"""A card says what was measured last, whatever an attempt before has stated."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from star_engine.adapters.layout import CARD, MANIFEST
from star_engine.adapters.model_card import MEASURED_LATER, RECEIPT, UNMEASURED, state_receipt
from star_engine.config.presets import PRESETS
from star_engine.evaluation.receipt import Evidence
from star_engine.protocols import BadAdapter
from star_engine.tasks.kind import Kind
from tests.star_engine.evaluation.test_receipt import measured

CONFIG = PRESETS["star"](Kind.NUMERIC)


def written(folder: Path, accuracy: str) -> Path:
    (folder / CARD).write_text(f"Accuracy: {accuracy}.\n\n{RECEIPT}nothing{MEASURED_LATER} stands elsewhere.")
    (folder / MANIFEST).write_text(json.dumps({"files": {}}))
    return folder


def test_an_accuracy_of_fewer_answers_makes_way(tmp_path: Path) -> None:
    card = written(tmp_path, UNMEASURED) / CARD
    for count, right in ((20, 5), (40, 30), (40, 30)):
        state_receipt(tmp_path, Evidence(measured(count, cot=range(4), m1=range(right))), 1, CONFIG)
        said = f"{right / count:.1%} ({right} of {count} of the split validation)"
        assert card.read_text().startswith(f"Accuracy: {said}.\n")
        assert json.loads((tmp_path / MANIFEST).read_text())["evaluation"]["n"] == count


def test_a_card_without_a_place_for_it_is_refused(tmp_path: Path) -> None:
    written(tmp_path, "high")
    with pytest.raises(BadAdapter, match="no place for the accuracy"):
        state_receipt(tmp_path, Evidence(measured(20, cot=range(4), m1=range(5))), 1, CONFIG)
