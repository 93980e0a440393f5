"""Whether sampler and trainer stay on a GPU together."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from worker.gpu.models import TRAINING_SHARE, USABLE_SHARE, sampler_share
from worker.gpu.process import GpuSpec

GIB = 2**30


def spec_of(folder: Path, weights_gib: float, **given: Any) -> GpuSpec:
    """A GPU's spec for a model whose one file claims this size."""
    with (folder / "model.safetensors").open("wb") as file:
        os.truncate(file.fileno(), int(weights_gib * GIB))  # sparse: takes no room
    return GpuSpec(base_model=folder, sampler="vllm", device="cuda", **given)


@pytest.mark.parametrize(("weights", "memory"), [(0.3, 24), (15, 141), (15, 80)])
def test_both_stay_where_the_memory_has_room_for_both(tmp_path: Path, weights: float, memory: int) -> None:
    share = sampler_share(spec_of(tmp_path, weights), memory * GIB)
    assert share is not None
    assert share + TRAINING_SHARE + weights / memory == pytest.approx(USABLE_SHARE)
    assert share * memory >= 2 * weights


def test_they_take_turns_where_keys_and_values_would_have_no_room(tmp_path: Path) -> None:
    assert sampler_share(spec_of(tmp_path, 15), 40 * GIB) is None


def test_they_take_turns_where_several_processes_train_or_sample(tmp_path: Path) -> None:
    assert sampler_share(spec_of(tmp_path, 1, training_ranks=2), 141 * GIB) is None
    assert sampler_share(spec_of(tmp_path, 1, options={"tensor_parallel_size": 2}), 141 * GIB) is None


def test_the_share_that_the_operator_set_counts_where_it_leaves_room(tmp_path: Path) -> None:
    def share(wanted: float) -> float | None:
        return sampler_share(spec_of(tmp_path, 15, options={"gpu_memory_utilization": wanted}), 141 * GIB)

    assert share(0.4) == 0.4
    assert share(0.9) is None
    assert share(0.1) is None  # too little for the weights
