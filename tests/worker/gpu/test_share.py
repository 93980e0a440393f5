"""Whether sampler and trainer stay on a GPU together."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from worker.gpu.models import (
    TRAINING_SHARE,
    USABLE_SHARE,
    is_sharded,
    make_sampler,
    make_trainer,
    make_writer,
    sampler_share,
    smaller,
)
from worker.gpu.process import GpuSpec

GIB = 2**30


def write_weights(file: Path, *, dtype: str, numbers: int = 0, shape: Sequence[int] = ()) -> None:
    """A safetensors file that claims to hold so many numbers: its header alone is written."""
    entry = {"dtype": dtype, "shape": [*shape] or [numbers], "data_offsets": [0, 0]}
    header = json.dumps({"weight": entry}).encode()
    file.write_bytes(len(header).to_bytes(8, "little") + header)


def spec_of(folder: Path, weights_gib: float, **given: Any) -> GpuSpec:
    """A GPU's spec for a model whose one file claims this size."""
    write_weights(folder / "model.safetensors", numbers=int(weights_gib * GIB / 2), dtype="BF16")
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


def test_the_share_counts_weights_as_they_are_loaded_and_not_the_files(tmp_path: Path) -> None:
    """A float32 checkpoint takes half of its size; weights that lie there twice count once."""
    write_weights(tmp_path / "model.safetensors", numbers=4 * GIB, dtype="F32")
    spec = GpuSpec(base_model=tmp_path, sampler="vllm", device="cuda")
    alone = sampler_share(spec, 80 * GIB)
    assert alone == pytest.approx(USABLE_SHARE - TRAINING_SHARE - 8 / 80)
    write_weights(tmp_path / "consolidated.safetensors", numbers=4 * GIB, dtype="BF16")
    assert sampler_share(spec, 80 * GIB) == alone


@pytest.mark.parametrize("memory", [24, 48, 80, 141])
@pytest.mark.parametrize("billions", [0.5, 1.5, 3, 7, 8, 14, 32, 70])
def test_together_they_leave_keys_and_values_as_much_as_the_weights_take(
    tmp_path: Path, billions: float, memory: int
) -> None:
    write_weights(tmp_path / "model.safetensors", numbers=int(billions * 1e9), dtype="BF16")
    share = sampler_share(GpuSpec(base_model=tmp_path, sampler="vllm", device="cuda"), memory * GIB)
    weights = 2 * billions * 1e9 / (memory * GIB)
    if share is not None:
        assert share - weights >= weights
        assert share + weights + TRAINING_SHARE <= USABLE_SHARE + 1e-9
    else:
        assert 3 * weights + TRAINING_SHARE > USABLE_SHARE


def test_after_running_out_of_memory_vllm_gets_fewer_rows_and_less_of_the_gpu() -> None:
    assert smaller({"threads": 2}, 0, 1024) == {"threads": 2}
    shrunk = smaller({"engine": {"max_num_seqs": 100}, "gpu_memory_utilization": 0.5}, 2, 1024)
    assert shrunk["engine"] == {"max_num_seqs": 25}
    assert shrunk["gpu_memory_utilization"] == pytest.approx(0.405)
    assert smaller({}, 1, 1024)["engine"] == {"max_num_seqs": 512}


@pytest.mark.parametrize(
    ("weights", "memory", "given", "sharded"),
    [
        (15, 80, {}, False),  # 8B on 80 GB: each rank holds it whole
        (62, 80, {}, False),  # 32B on 80 GB, just
        (65, 80, {}, True),
        (132, 141, {}, True),  # 70B on 141 GB
        (132, 141, {"training_ranks": 1}, False),
        (15, 80, {"sharding": "always"}, True),
        (132, 141, {"sharding": "never"}, False),
    ],
)
def test_training_processes_hold_a_piece_each_where_one_gpu_does_not_hold_the_model(
    tmp_path: Path, weights: float, memory: int, given: dict[str, Any], sharded: bool
) -> None:
    spec = spec_of(tmp_path, weights, **{"training_ranks": 2} | given)
    assert is_sharded(spec, lambda: memory * GIB) is sharded


def linear(numbers: float) -> list[int]:
    return [1000, int(numbers) // 1000]


def test_a_base_model_in_four_bits_leaves_more_room_and_is_not_cut_into_pieces(tmp_path: Path) -> None:
    """10B in 4 bits take 5 GiB of 80 beside the sampler, where in bfloat16 they take turns."""
    weights = tmp_path / "model.safetensors"
    write_weights(weights, shape=linear(32e9), dtype="BF16")
    spec = GpuSpec(base_model=tmp_path, sampler="vllm", device="cuda", training_ranks=2)
    four = replace(spec, quantization="nf4")
    assert is_sharded(spec, lambda: 48 * GIB)
    assert not is_sharded(four, lambda: 48 * GIB)
    with pytest.raises(ValueError, match="is not cut into pieces"):
        make_trainer(replace(four, device="cpu", sharding="always"))
    write_weights(weights, shape=linear(10e9), dtype="BF16")
    assert sampler_share(replace(spec, training_ranks=1), 80 * GIB) is None
    assert sampler_share(replace(four, training_ranks=1), 80 * GIB) == pytest.approx(
        USABLE_SHARE - TRAINING_SHARE - 0.516 * 10e9 / (80 * GIB), rel=0.01
    )


def test_of_a_quantized_model_the_sampler_takes_what_its_files_do(tmp_path: Path) -> None:
    sampled, trained = tmp_path / "awq", tmp_path / "bf16"
    sampled.mkdir()
    trained.mkdir()
    write_weights(sampled / "model.safetensors", shape=[10], dtype="I32")
    write_weights(trained / "model.safetensors", shape=linear(7e9), dtype="BF16")
    spec = GpuSpec(base_model=sampled, trained_as=trained, sampler="vllm", device="cuda")
    assert sampler_share(spec, 24 * GIB) == pytest.approx(USABLE_SHARE - TRAINING_SHARE - 14e9 / (24 * GIB))
    assert GpuSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec


def test_transformers_samples_no_quantized_model(tmp_path: Path) -> None:
    spec = GpuSpec(base_model=tmp_path / "awq", trained_as=tmp_path / "bf16")
    for make in (make_sampler, make_writer):
        with pytest.raises(ValueError, match=r"awq is quantized.*STAR_SAMPLER=vllm.*ask for bf16"):
            make(spec)


def test_on_a_cpu_they_do_so_when_asked_alone(tmp_path: Path) -> None:
    spec = spec_of(tmp_path, 15, training_ranks=2)

    def no_gpu() -> int:
        raise AssertionError("no GPU is asked")

    assert not is_sharded(replace(spec, device="cpu"), no_gpu)
    assert is_sharded(replace(spec, device="cpu", sharding="always"), no_gpu)
