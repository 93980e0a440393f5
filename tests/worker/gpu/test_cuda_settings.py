"""What is done for CUDA, told without one: refused adapters, imports ahead, loading, the container."""

from __future__ import annotations

import sys
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from app.file_hashes import FileHashes
from app.tables.data import Model
from star_engine.adapters.layout import file_sha256
from star_engine.gpu import causal_lm
from star_engine.gpu.training.checkpointing import start_checkpointing
from star_engine.gpu.training.shared_prefix import SharedPrefix
from star_engine.gpu.vllm_sampler import VllmSampler
from star_engine.protocols import BadAdapter
from tests.databases import PROJECT
from worker.base_models import BadModel, BaseModels
from worker.gpu import child
from worker.gpu.process import child_environment

REFUSAL = "Call to add_lora method failed: LoRA rank 128 is greater than max_lora_rank 64."


class Engine:
    """An engine in a process of its own, which refuses every adapter."""

    def __init__(self, *, dead: bool) -> None:
        self.engine_core = SimpleNamespace(resources=SimpleNamespace(engine_dead=dead))

    def add_lora(self, _: Any) -> bool:
        raise Exception(REFUSAL)


def serving(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> VllmSampler:
    """A sampler whose engine is already there."""
    request = SimpleNamespace(LoRARequest=lambda name, number, path: SimpleNamespace(name=name, path=path))
    monkeypatch.setitem(sys.modules, "vllm.lora.request", request)
    sampler = VllmSampler.__new__(VllmSampler)
    sampler._lora, sampler._adapters, sampler._engine = None, count(1), engine
    sampler._llm = SimpleNamespace(llm_engine=engine)
    return sampler


def test_an_adapter_that_vllm_refuses_is_a_bad_adapter(monkeypatch: pytest.MonkeyPatch) -> None:
    sampler = serving(Engine(dead=False), monkeypatch)
    with pytest.raises(BadAdapter, match="LoRA rank 128 is greater"):
        sampler._use_lora(Path("adapter"))
    assert sampler._lora is None


def test_an_engine_that_died_over_an_adapter_is_no_bad_adapter(monkeypatch: pytest.MonkeyPatch) -> None:
    sampler = serving(Engine(dead=True), monkeypatch)
    with pytest.raises(Exception, match="add_lora method failed") as raised:
        sampler._use_lora(Path("adapter"))
    assert not isinstance(raised.value, BadAdapter)


def test_a_shared_prefix_under_gradient_checkpointing_is_refused(tiny_llama: Any) -> None:
    """transformers would drop its keys and values with no more than a warning."""
    assert start_checkpointing(tiny_llama)
    wrapped = SimpleNamespace(get_base_model=lambda: tiny_llama)
    with pytest.raises(RuntimeError, match="exclude each other"):
        SharedPrefix(wrapped, [], 64, torch.device("cpu"))


@pytest.fixture
def tiny_llama() -> Any:
    config = LlamaConfig(
        vocab_size=16, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1
    )
    return LlamaForCausalLM(config).eval()


def test_the_module_that_takes_long_is_imported_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    imported: list[str] = []
    monkeypatch.setattr("importlib.import_module", imported.append)
    child.import_ahead()
    assert "vllm.entrypoints.llm" in imported  # vllm itself imports next to nothing


def test_prompts_are_tokenized_by_all_cores() -> None:
    assert child_environment(None)["TOKENIZERS_PARALLELISM"] == "true"


@pytest.mark.parametrize(("device", "where"), [("cuda:1", {"": "cuda:1"}), ("cpu", None)])
def test_weights_go_to_the_gpu_one_by_one(
    device: str, where: Any, monkeypatch: pytest.MonkeyPatch, tiny_llama: Any
) -> None:
    asked: dict[str, Any] = {}

    def load(_: Path, **options: Any) -> Any:
        asked.update(options)
        return tiny_llama

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", load)
    causal_lm.load_model(Path("model"), dtype=torch.bfloat16, device=device, attention="sdpa")
    assert asked["device_map"] == where


def test_the_container_of_gpu_workers_lets_nccl_pin_memory_and_keeps_compiled_kernels() -> None:
    services = yaml.safe_load((PROJECT / "docker-compose.yml").read_text())["services"]
    ulimits = [one["ulimits"] for one in services.values() if "ulimits" in one]
    assert ulimits
    assert all(one["memlock"] == -1 and one["stack"] == 67_108_864 for one in ulimits)
    image = (PROJECT / "Dockerfile").read_text()
    assert "TORCHINDUCTOR_CACHE_DIR=" in image or "TORCHINDUCTOR_CACHE_DIR" in str(services)


def test_a_base_model_is_hashed_again_only_where_it_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "model" / "model.safetensors"
    file.parent.mkdir()
    file.write_bytes(b"weights")
    monkeypatch.setattr("app.file_hashes.SETTLED_NS", -(10**18))  # as if it had been written long ago
    model = Model(id="m", location=str(file.parent), files={file.name: file_sha256(file)})
    kept = tmp_path / "hashes.json"
    BaseModels(FileHashes(kept)).find(model)
    with monkeypatch.context() as patched:
        patched.setattr("app.file_hashes.file_digest", lambda *_: pytest.fail("it is read again"))
        BaseModels(FileHashes(kept)).find(model)
    file.write_bytes(b"other bytes")
    with pytest.raises(BadModel, match="sha256 differs"):
        BaseModels(FileHashes(kept)).find(model)
