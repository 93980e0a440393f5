"""What vLLM and the trainer are told on a GPU, told without one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from app.settings import Settings
from star_engine.gpu import vllm_settings
from star_engine.gpu.causal_lm import attention_of
from star_engine.gpu.training.batch_plan import micro_batches
from star_engine.gpu.training.tokenized_rows import TokenizedRow
from star_engine.gpu.vllm_settings import engine_arguments, graph_sizes, runs_on_cpu, set_environment


@pytest.mark.parametrize(("rank", "reserved"), [(1, 8), (8, 8), (16, 16), (65, 128), (300, 320), (512, 512)])
def test_on_a_gpu_the_engine_is_made_for_the_next_rank_that_vllm_has(rank: int, reserved: int) -> None:
    arguments = engine_arguments(on_cpu=False, max_lora_rank=rank)
    assert (arguments["max_lora_rank"], arguments["dtype"]) == (reserved, "bfloat16")


def test_the_sampler_that_would_need_a_compiler_is_off(monkeypatch: pytest.MonkeyPatch) -> None:
    environment: dict[str, str] = {}
    monkeypatch.setattr("os.environ", environment)
    set_environment(on_cpu=False, threads=2, kv_cache_gib=1)
    assert environment["VLLM_USE_FLASHINFER_SAMPLER"] == "0"


def test_how_long_a_start_may_take_is_for_the_worker_to_say(monkeypatch: pytest.MonkeyPatch) -> None:
    environment: dict[str, str] = {}
    monkeypatch.setattr("os.environ", environment)
    set_environment(on_cpu=False, threads=2, kv_cache_gib=1)
    assert int(environment["VLLM_ENGINE_READY_TIMEOUT_S"]) > 10 * Settings().stall_seconds


def test_asking_for_cuda_where_there_is_none_is_an_error_and_not_a_cpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(vllm_settings, "has_cuda", lambda: False)
    with pytest.raises(RuntimeError, match="580 or newer"):
        runs_on_cpu("cuda")
    assert runs_on_cpu("cpu")
    assert runs_on_cpu(None)


@pytest.mark.parametrize(("cap", "attention"), [(50.0, "eager"), (None, "sdpa")])
def test_a_soft_cap_of_attention_is_trained(tmp_path: Path, cap: float | None, attention: str) -> None:
    config = {"model_type": "gemma2", "attn_logit_softcapping": cap}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert attention_of(tmp_path) == attention


def test_a_gpu_gets_larger_parts_of_a_batch_than_a_cpu() -> None:
    rows = [TokenizedRow(tuple(range(length)), 1) for length in (600, 590, 580, 50, 40)]
    assert len(micro_batches(rows, 16_384)) > len(micro_batches(rows, 16_384, device="cuda")) == 1


def test_a_small_model_decodes_all_rows_by_graphs() -> None:
    wanted = {"compilation_config": {"max_cudagraph_capture_size": 1024}}
    assert graph_sizes(500_000_000, {}) == wanted
    assert graph_sizes(7_000_000_000, {}) == {}
    assert graph_sizes(500_000_000, {"max_num_seqs": 256}) == {}  # after it has run out of memory
