"""What the GPU process holds: one sampler and one trainer of one base model."""

from __future__ import annotations

import gc
import importlib
import sys
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from star_engine.adapters.layout import THINKING
from star_engine.adapters.roles import UNTHINKING
from star_engine.adapters.weight_files import held_bytes, stored_bytes, training_bytes
from star_engine.protocols import BadAdapter, Completion, Sampler, SampleRequest, SamplingParams, Trainer
from star_engine.testing.fakes import RecordingTrainer, Script, ScriptedSampler
from star_engine.testing.writer import ScriptedWriter
from star_engine.thoughts import ThoughtModel
from star_engine.writing import Writer
from worker.gpu.process import GpuSpec

TRAINING_SHARE = 0.25  # of a GPU's memory, for activations and optimizer; the trainer cuts its batches to fit
USABLE_SHARE = 0.9  # of it, vLLM's own default: the rest is for contexts and fragments


class Models:
    """Sampler and trainer, created when first needed. On CPU both stay; on a GPU they do if memory has room
    for both, else one at a time, and vLLM restarts in every iteration. `loads` hears when a loading begins
    and when it ends.
    """

    def __init__(self, spec: GpuSpec, loads: Callable[[bool], None] = lambda begins: None) -> None:
        self._spec = spec
        self.loads = loads
        self._share: float | None = None  # of the GPU for the sampler, beside the trainer
        if spec.device != "cpu" and spec.sampler == "vllm":
            from star_engine.gpu.causal_lm import device_bytes

            self._share = sampler_share(spec, device_bytes())
        self._sampler: Sampler | None = None
        self._trainer: Trainer | None = None
        self._writer: Writer | None = None
        self._thoughts: ThoughtModel | None = None
        self._adapter: Path | None = None
        self._sure = False  # whether the sampler holds that adapter: not after one that was refused
        self._thinking: Path | None = None  # the adapter that thinks, where that is the one in use

    def use(self, adapter: Path | None) -> None:
        """What is in use stays so, with its prefix cache: every step says again what it wants.

        An adapter that thinks between tokens is loaded when it is first asked, and never by the sampler.
        """
        self._thinking = adapter if adapter is not None and (adapter / THINKING).is_file() else None
        if self._thinking is not None:
            return
        if self._sampler is not None and self._sure and adapter == self._adapter:
            return
        self._sure = False
        self._adapter = None  # if the sampler is made by this call, it need not load the old one first
        self.sampler().use(adapter)
        self._adapter, self._sure = adapter, True

    def sampler(self) -> Sampler:
        if self._sampler is None:
            self._free_thoughts()
            if self._takes_turns:
                self._free_trainer()
            _free_memory()  # a trainer's cached memory is no longer free to others
            with self._loading():
                self._sampler = make_sampler(self._spec, self._share)
            if self._adapter is not None:
                self._sampler.use(self._adapter)
        return self._sampler

    def stream(self, queue: deque[SampleRequest], params: SamplingParams) -> Iterator[Completion]:
        """As Sampler.stream, with the adapter in use. Raises BadAdapter for one that thinks where vLLM
        samples: vLLM would have to be dropped for every question, and takes minutes to load.
        """
        if self._thinking is None:
            return self.sampler().stream(queue, params)
        if self._spec.sampler == "vllm":
            raise BadAdapter(
                f"The adapter thinks between tokens, and this worker samples by vLLM: {UNTHINKING}. Workers "
                "with STAR_SAMPLER=transformers ask it."
            )
        return self.thoughts().write_with_thoughts(self._thinking, queue, params)

    def writer(self) -> Writer:
        """For those who talk to the model: it holds a sampler of its own, which no step uses."""
        if self._writer is None:
            with self._loading():
                self._writer = make_writer(self._spec)
        return self._writer

    def thoughts(self) -> ThoughtModel:
        """For jobs on documents, which need neither sampler nor trainer: on a GPU it has all the memory."""
        if self._thoughts is None:
            if self._spec.device != "cpu":
                self.close()
                self._free_trainer()
            with self._loading():
                self._thoughts = make_thoughts(self._spec)
        return self._thoughts

    def trainer(self) -> Trainer:
        if self._trainer is None:
            self._free_thoughts()
            if self._takes_turns:
                self.close()
            with self._loading():
                self._trainer = make_trainer(self._spec)
        return self._trainer

    def make_room(self) -> bool:
        """Free the sampler beside the trainer, and let them take turns from now on. False: there was none."""
        if self._spec.device == "cpu" or self._sampler is None:
            return False
        self._share = None
        self.close()
        return True

    @property
    def sampler_share(self) -> float | None:
        """The share of the GPU that vLLM may have beside the trainer; None: not both are there at a time."""
        return self._share

    def close(self) -> None:
        """Free the sampler."""
        if self._sampler is not None:
            self._sampler.close()
            self._sampler = None
            _free_memory()

    @contextmanager
    def _loading(self) -> Iterator[None]:
        self.loads(True)
        yield
        self.loads(False)

    @property
    def _takes_turns(self) -> bool:
        return self._spec.device != "cpu" and self._share is None

    def _free_thoughts(self) -> None:
        if self._thoughts is not None:
            self._thoughts = None
            _free_memory()

    def _free_trainer(self) -> None:
        if self._trainer is not None:
            self._trainer = None
            _free_memory()


def _free_memory() -> None:
    gc.collect()
    torch = sys.modules.get("torch")  # where nothing has imported it, nothing is cached
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()


def sampler_share(spec: GpuSpec, device_bytes: int) -> float | None:
    """The share of a GPU that vLLM may have where the trainer stays on it; None: they take turns.

    The trainer needs its own copy of the weights and TRAINING_SHARE; vLLM at least as much again for keys and
    values as its weights take. What the operator set as vLLM's share counts, where it leaves the trainer its.
    """
    if spec.training_ranks > 1 or spec.options.get("tensor_parallel_size", 1) > 1:
        return None
    weights = (held_bytes if spec.trained_as is None else stored_bytes)(spec.base_model) / device_bytes
    most = USABLE_SHARE - TRAINING_SHARE - held_bytes(spec.trained, spec.quantization) / device_bytes
    wanted = float(spec.options.get("gpu_memory_utilization", most))
    return wanted if 2 * weights <= wanted <= most else None


def make_sampler(spec: GpuSpec, share: float | None = None) -> Sampler:
    if spec.sampler == "scripted":
        return _scripted(spec)
    if spec.sampler == "vllm":
        from star_engine.gpu.vllm_sampler import VllmSampler
        from star_engine.gpu.vllm_settings import CPU_ROWS, CUDA_ROWS

        shared = {} if share is None else {"gpu_memory_utilization": share}
        options = {"threads": spec.threads, **spec.options, **shared}
        return VllmSampler(
            spec.base_model,
            device=spec.device,
            max_length=spec.max_length,
            max_lora_rank=spec.lora_rank,
            trained_as=spec.trained_as,
            **smaller(options, spec.halvings, CPU_ROWS if spec.device == "cpu" else CUDA_ROWS),
        )
    _refuse_quantized(spec)
    from star_engine.gpu.transformers_sampler import TransformersSampler

    return TransformersSampler(
        spec.base_model,
        max_length=spec.max_length,
        batch_size=spec.sampler_batch,
        threads=spec.threads,
        device=spec.device,
    )


def _refuse_quantized(spec: GpuSpec) -> None:
    if spec.trained_as is not None:
        raise ValueError(
            f"The base model {spec.base_model.name} is quantized, and this worker samples by transformers, "
            "which merges adapters into plain weights: vLLM samples it (STAR_SAMPLER=vllm), or ask for "
            f"{spec.trained_as.name}."
        )


def smaller(options: dict[str, Any], halvings: int, rows: int) -> dict[str, Any]:
    """Return the VllmSampler's options with half as many rows, and a tenth less of the GPU, per halving."""
    if not halvings:
        return options
    engine: dict[str, Any] = dict(options.get("engine") or {})
    engine["max_num_seqs"] = max(1, int(engine.get("max_num_seqs", rows)) >> halvings)
    share = float(options.get("gpu_memory_utilization", USABLE_SHARE)) * 0.9**halvings
    return options | {"engine": engine, "gpu_memory_utilization": share}


def make_writer(spec: GpuSpec) -> Writer:
    """Raises ValueError for a sampler that writes whole texts only."""
    if spec.sampler == "scripted":
        return ScriptedWriter(_script(spec))
    if spec.sampler == "vllm":
        raise ValueError("vLLM answers by a server of its own.")
    _refuse_quantized(spec)
    from star_engine.gpu.transformers_sampler import TransformersSampler
    from star_engine.gpu.transformers_writer import TransformersWriter

    sampler = TransformersSampler(
        spec.base_model,
        max_length=spec.max_length,
        batch_size=spec.sampler_batch,
        threads=spec.threads,
        device=spec.device,
    )
    return TransformersWriter(sampler, spec.base_model, spec.max_length)


def make_thoughts(spec: GpuSpec) -> ThoughtModel:
    """Of transformers, whatever samples here: vLLM cannot think between tokens."""
    from star_engine.gpu.quiet_star.model import QuietModel

    return QuietModel(spec.trained, threads=spec.threads, device=spec.device)


def is_sharded(spec: GpuSpec, device_bytes: Callable[[], int]) -> bool:
    """Whether each training process holds a piece of the base model: asked for, or since no GPU holds it all.

    device_bytes: memory of one GPU, which is asked for where it decides.
    """
    if spec.training_ranks == 1 or spec.sharding == "never":
        return False
    if spec.sharding == "always":
        return True
    if spec.quantization is not None:  # its pieces would lack their scales: each process holds all of it
        return False
    return spec.device != "cpu" and training_bytes(spec.trained) > device_bytes()


def make_trainer(spec: GpuSpec) -> Trainer:
    if spec.sampler == "scripted":
        return RecordingTrainer(_script(spec), before_step=_named(spec.options.get("before_step")))
    if spec.training_ranks > 1:
        from star_engine.gpu.causal_lm import device_bytes
        from star_engine.gpu.training.parallel_trainer import ParallelTrainer

        return ParallelTrainer(
            spec.trained,
            ranks=spec.training_ranks,
            threads=spec.threads,
            device=spec.device,
            sharded=is_sharded(spec, device_bytes),
            quantization=spec.quantization,
        )
    from star_engine.gpu.training.lora_trainer import LoraTrainer

    return LoraTrainer(spec.trained, threads=spec.threads, device=spec.device, quantization=spec.quantization)


def _scripted(spec: GpuSpec) -> ScriptedSampler:
    hook = _named(spec.options.get("before_completion"))
    named = {name: spec.options[name] for name in ("batch", "order") if name in spec.options}
    return ScriptedSampler(_script(spec), before_completion=hook, **named)


def _script(spec: GpuSpec) -> Script:
    script: Script = _named(spec.options["script"])()
    return script


def _named(reference: str | None) -> Any:
    """What "module:name" refers to."""
    if reference is None:
        return None
    module, _, name = reference.partition(":")
    return getattr(importlib.import_module(module), name)
