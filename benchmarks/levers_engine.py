"""One engine of benchmarks/levers.py: the service's sampler with one thing changed, and its load."""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from safetensors.torch import save_file

from benchmarks.sums import KIND, Task
from star_engine.adapters.layout import CONFIG as CONFIG_FILE
from star_engine.adapters.layout import WEIGHTS
from star_engine.config.star import Rationalization, StarConfig
from star_engine.evaluation.accuracy import EvaluatedAnswer, EvaluationMode, evaluate, plan_answers
from star_engine.gpu.causal_lm import prompt_ids
from star_engine.gpu.lora_merge import PREFIX, weight_shapes
from star_engine.gpu.vllm_sampler import VllmSampler
from star_engine.protocols import Sampler, SampleRequest, SamplingParams
from star_engine.sampling.rationales import Rationale, Route, plan_tries, sample_rationales
from star_engine.sampling.shared_calls import share_call

CONFIG = StarConfig.model_validate({"kind": KIND, "generation": {"max_tokens": 72}})
HELD_OUT = EvaluationMode.ADAPTER
ITERATION = 2
RANK = 16


@dataclass(frozen=True)
class Setup:
    """What is changed. As it is: what the service does."""

    engine: Mapping[str, Any] = field(default_factory=dict)
    max_length: int = 2048
    adapter: str | None = None  # merged | beside (as a LoRARequest)
    stop_strings: bool = True
    logprobs: int | None = None
    hints_first: bool = False


class ChangedSampler(VllmSampler):
    def __init__(self, model: Path, setup: Setup) -> None:
        self._setup = setup
        super().__init__(model, max_length=setup.max_length, engine=setup.engine)
        if setup.adapter is not None:
            with TemporaryDirectory() as folder:
                adapter = Path(folder)
                write_random_adapter(model, adapter)
                (self.use if setup.adapter == "merged" else self._use_lora)(adapter)

    def fresh(self) -> None:
        """Forget the prefixes of the turn before."""
        self._llm.reset_prefix_cache()

    def _sampling(self, request: SampleRequest, params: SamplingParams) -> Any:
        chosen = super()._sampling(request, params)
        if not self._setup.stop_strings:
            chosen.stop = []
        if self._setup.logprobs is not None:
            chosen.logprobs = self._setup.logprobs
        return chosen

    def _submit(
        self, queue: deque[SampleRequest], params: SamplingParams, running: dict[str, SampleRequest]
    ) -> None:
        """As the service does; `priority` says nothing unless the engine schedules by it."""
        requests = [queue.popleft() for _ in range(len(queue))]
        encoded = prompt_ids(self._tokenizer, [request.prompt for request in requests])
        for request, ids in zip(requests, encoded, strict=True):
            name = str(next(self._ids))
            running[name] = request
            prompt, sampling = {"prompt_token_ids": ids}, self._sampling(request, params)
            first = 0 if Route.RATIONALIZED in request.key else 1
            self._engine.add_request(name, prompt, sampling, lora_request=self._lora, priority=first)


def write_random_adapter(model: Path, out: Path) -> None:
    """Rank 16 on every linear layer, as a job trains it, with small random weights; the same every time."""
    tensors: dict[str, torch.Tensor] = {}
    source = torch.Generator().manual_seed(0)
    for name, shape in weight_shapes(model).items():
        layer = name.removesuffix(".weight")
        if layer.endswith("_proj") and len(shape) == 2:
            for half, size in (("A", (RANK, shape[1])), ("B", (shape[0], RANK))):
                tensors[f"{PREFIX}{layer}.lora_{half}.weight"] = 0.01 * torch.randn(size, generator=source)
    save_file(tensors, out / WEIGHTS)
    layers = sorted({name.split(".")[-3] for name in tensors})
    config = {"peft_type": "LORA", "r": RANK, "lora_alpha": RANK, "target_modules": layers, "bias": "none"}
    (out / CONFIG_FILE).write_text(json.dumps(config))


@dataclass(frozen=True)
class Done:
    """One turn."""

    seconds: float
    tokens: int  # generated
    texts: Mapping[str, str]  # of every request


def sample(sampler: Sampler, task: Task) -> list[Rationale]:
    return list(sample_rationales(sampler, CONFIG, task.prompt_set, task.train, ITERATION, {}))


def serial(sampler: Sampler, task: Task) -> list[Any]:
    """Generation, rationalization and evaluation, each in a call of its own."""
    off = Rationalization(enabled=False)
    generation = CONFIG.model_copy(update={"rationalization": off})
    first = list(sample_rationales(sampler, generation, task.prompt_set, task.train, ITERATION, {}))
    tried = {one.key: one.verdict for one in first}
    second = list(sample_rationales(sampler, CONFIG, task.prompt_set, task.train, ITERATION, tried))
    return [*first, *second, *_evaluated(sampler, task)]


def sharded(sampler: Sampler, task: Task) -> list[Any]:
    """Two shards whose failures are rationalized at once, then the evaluation: three calls."""
    half = len(task.train) // 2
    shards = [replace(task, train=part) for part in (task.train[:half], task.train[half:])]
    return [*_evaluated(sampler, task), *(one for shard in shards for one in sample(sampler, shard))]


def pipelined(sampler: Sampler, task: Task) -> list[Any]:
    """The same in one call."""
    answers = plan_answers(CONFIG, task.prompt_set, task.held_out, HELD_OUT, ITERATION - 1, set())
    tries = plan_tries(CONFIG, task.prompt_set, task.train, ITERATION, {})
    return [item for _, item in share_call(sampler, (answers, tries))]


def _evaluated(sampler: Sampler, task: Task) -> list[EvaluatedAnswer]:
    return list(evaluate(sampler, CONFIG, task.prompt_set, task.held_out, HELD_OUT, ITERATION - 1, set()))


CALLS: Mapping[str, Callable[[Sampler, Task], Sequence[Any]]] = {
    "sample": sample,
    "serial": serial,
    "sharded": sharded,
    "pipelined": pipelined,
}


def turn(sampler: ChangedSampler, calls: str, task: Task) -> Done:
    """The load once, in calls of this name, from an empty prefix cache."""
    sampler.fresh()
    began = time.monotonic()
    items = CALLS[calls](sampler, task)
    seconds = time.monotonic() - began
    return Done(seconds, sum(item.tokens for item in items), {_name(item): item.text for item in items})


def _name(item: Any) -> str:
    return str(item.key) if isinstance(item, Rationale) else f"held out {item.example_id}"
