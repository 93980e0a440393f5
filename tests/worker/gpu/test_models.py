"""What the GPU process holds between two calls."""

from __future__ import annotations

import shutil
from collections import deque
from pathlib import Path

import pytest

from star_engine.adapters.layout import THINKING
from star_engine.protocols import BadAdapter, SamplingParams
from star_engine.testing.fakes import write_adapter
from worker.gpu.models import Models
from worker.gpu.process import GpuSpec


def test_an_adapter_in_use_is_not_read_again_until_another_was_asked_for(tmp_path: Path) -> None:
    models = Models(GpuSpec(tmp_path, sampler="scripted", options={"script": "tests.factories:pupil"}))
    adapter, other = tmp_path / "adapter", tmp_path / "other"
    for folder in (adapter, other):
        folder.mkdir()
        write_adapter(folder, rank=2, alpha=4, lessons=frozenset({2}))
    models.use(adapter)
    shutil.rmtree(adapter)
    models.use(adapter)
    models.use(other)
    with pytest.raises(BadAdapter):
        models.use(adapter)
    shutil.rmtree(other)
    with pytest.raises(BadAdapter):
        models.use(other)  # after a refusal nobody knows what the sampler holds


def test_a_worker_with_vllm_refuses_an_adapter_that_thinks_and_loads_nothing(tmp_path: Path) -> None:
    (tmp_path / THINKING).write_text("{}")
    models = Models(GpuSpec(tmp_path / "no model", sampler="vllm"))
    models.use(tmp_path)
    with pytest.raises(BadAdapter, match="no head beside LoRA"):
        models.stream(deque(), SamplingParams())
