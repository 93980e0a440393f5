"""Memory of a step is known from settings and sizes: it grows as the windows and thoughts do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from star_engine.adapters.thought_memory import ModelShape, training_bytes
from star_engine.config.quiet_star import QuietStar

SHAPE = ModelShape(layers=24, hidden=1024, intermediate=4096, queries=1024, key_values=256, vocabulary=50_000)


def needed(*, checkpointed: bool = False, **settings: object) -> int:
    return training_bytes(QuietStar.model_validate(settings), SHAPE, 2, checkpointed=checkpointed)


def test_a_step_takes_as_much_more_as_its_micro_batch_and_its_thoughts_are_more() -> None:
    assert needed(micro_batch=8) == pytest.approx(2 * needed(micro_batch=4), rel=0.02)
    assert needed(rationales=4) == pytest.approx(2 * needed(rationales=2), rel=0.02)
    assert needed(thought_tokens=24) > needed(thought_tokens=12) > needed(thoughts="pause")
    assert needed(thoughts="off") < needed(thoughts="pause") / 2


def test_passes_that_are_computed_twice_take_the_memory_of_one_and_the_keys_and_values_of_all() -> None:
    once, twice = needed(), needed(checkpointed=True)
    assert twice < once / 6
    assert needed(thought_tokens=24) - once > 8 * (needed(thought_tokens=24, checkpointed=True) - twice)
    assert needed(thoughts="off", checkpointed=True) == needed(thoughts="off")


def test_sizes_are_read_from_the_models_config(tmp_path: Path) -> None:
    config = {"hidden_size": 64, "num_attention_heads": 4, "num_hidden_layers": 2, "vocab_size": 99}
    (tmp_path / "config.json").write_text(json.dumps({**config, "num_key_value_heads": 2}))
    assert ModelShape.of(tmp_path) == ModelShape(2, 64, 256, 64, 32, 99)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ValueError, match="does not say its sizes"):
        ModelShape.of(tmp_path)
