"""The GPU process with the real samplers and the real trainer, on the addition task's tiny model."""

from __future__ import annotations

import os
import signal
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from star_engine.config.lora import Lora
from star_engine.config.star import Training
from star_engine.gpu.transformers_sampler import TransformersSampler
from star_engine.protocols import SampleRequest, SamplingParams, ScoreRequest, TrainingJob, TrainingText
from worker.gpu.process import GpuDied, GpuProcess, GpuSpec

MODEL = Path(__file__).parents[3] / "examples" / "carry" / "model"
PROMPTS = [f"Input:\n{a} + {b}\nTarget:\n" for a in range(3) for b in range(3)]
GREEDY = SamplingParams(max_tokens=40)


@pytest.fixture
def gpu(tmp_path: Path) -> Iterator[GpuProcess]:
    process = GpuProcess(GpuSpec(MODEL, "transformers", threads=1, max_length=256), tmp_path / "gpu.log")
    yield process
    process.kill()


def texts(sampler: GpuProcess | TransformersSampler) -> list[str]:
    queue = deque(SampleRequest(f"{n}", prompt) for n, prompt in enumerate(PROMPTS))
    return [one.text for one in sorted(sampler.stream(queue, GREEDY), key=lambda one: int(one.key))]


def test_sampling_training_and_probing_share_one_process(gpu: GpuProcess, tmp_path: Path) -> None:
    before = texts(gpu)
    assert before == texts(TransformersSampler(MODEL, threads=1, max_length=256))
    rows = tuple(TrainingText(prompt, "<scratch>\n</scratch>\n0 0 0") for prompt in PROMPTS)
    training = Training(learning_rate=1e-2, batch_size=9, max_length=256, lora=Lora(rank=4, alpha=8))
    job = TrainingJob(rows, training, 10, 0, tmp_path / "adapter", tmp_path / "checkpoints")
    progress = list(gpu.train(job))
    assert progress[-1].loss < progress[0].loss
    gpu.use(tmp_path / "adapter")
    assert texts(gpu) != before
    asked = [ScoreRequest(str(n), row) for n, row in enumerate(rows)]
    after = sum(score.total for score in gpu.score(asked))
    gpu.use(None)
    assert sum(score.total for score in gpu.score(asked)) < after, "what was trained on has become likelier"
    assert texts(gpu) == before
    probe = gpu.probe(tmp_path / "adapter", PROMPTS[:2], 10)
    assert probe.finite
    assert probe.texts != probe.base_texts


def test_a_prompt_longer_than_the_model_allows_leaves_the_process_usable(gpu: GpuProcess) -> None:
    queue = deque([SampleRequest("long", "1 " * 300)])
    with pytest.raises(ValueError, match="long"):
        list(gpu.stream(queue, GREEDY))
    assert len(texts(gpu)) == len(PROMPTS)


@pytest.mark.long
def test_engines_that_vllm_starts_die_with_the_process(tmp_path: Path) -> None:
    spec = GpuSpec(MODEL, "vllm", threads=1, max_length=256, options={"kv_cache_gib": 1})
    gpu = GpuProcess(spec, tmp_path / "gpu.log")
    try:
        assert len(texts(gpu)) == len(PROMPTS)
        started = psutil.Process(gpu.pid).children(recursive=True)
        assert started
        os.kill(gpu.pid, signal.SIGKILL)
        with pytest.raises(GpuDied):
            gpu.count_tokens(["a"])
    finally:
        gpu.kill()
    deadline = time.monotonic() + 30
    while any(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in started):
        assert time.monotonic() < deadline, "an engine outlived its process"
        time.sleep(0.05)
