"""A card is stated again with the same accuracy, and with no other one."""

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
from tests.star_engine.evaluation.outcomes import measured

CONFIG = PRESETS["star"](Kind.NUMERIC)


def written(folder: Path, accuracy: str) -> Path:
    (folder / CARD).write_text(f"Accuracy: {accuracy}.\n\n{RECEIPT}nothing{MEASURED_LATER} stands elsewhere.")
    (folder / MANIFEST).write_text(json.dumps({"files": {}}))
    return folder


FOUND = Evidence(measured(20, cot=range(4), m1=range(5)))


def test_the_same_accuracy_is_stated_again(tmp_path: Path) -> None:
    card = written(tmp_path, UNMEASURED) / CARD
    state_receipt(tmp_path, FOUND, 1, CONFIG)
    once = card.read_text()
    assert once.startswith("Accuracy: 25.0% (5 of 20 of the split validation).\n")
    state_receipt(tmp_path, FOUND, 1, CONFIG)
    assert card.read_text() == once
    assert json.loads((tmp_path / MANIFEST).read_text())["evaluation"]["n"] == 20


@pytest.mark.parametrize("accuracy", ["high", "10.0% (2 of 20 of the split validation)"])
def test_a_card_without_a_place_for_it_is_refused(accuracy: str, tmp_path: Path) -> None:
    written(tmp_path, accuracy)
    with pytest.raises(BadAdapter, match="no place for the accuracy"):
        state_receipt(tmp_path, FOUND, 1, CONFIG)
