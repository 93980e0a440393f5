"""What the GPU process holds: one sampler and one trainer of one base model."""

from __future__ import annotations

import gc
import importlib
import sys
from pathlib import Path
from typing import Any

from star_engine.protocols import Sampler, Trainer
from star_engine.testing import RecordingTrainer, Script, ScriptedSampler
from worker.gpu_process import GpuSpec


class Models:
    """Sampler and trainer, made when first needed. On CPU both stay; a GPU holds one of them at a time."""

    def __init__(self, spec: GpuSpec) -> None:
        self._spec = spec
        self._sampler: Sampler | None = None
        self._trainer: Trainer | None = None
        self._adapter: Path | None = None
        self._sure = False  # whether the sampler holds that adapter: not after one that was refused

    def use(self, adapter: Path | None) -> None:
        """What is in use stays so, with its prefix cache: every step says anew what it wants."""
        if self._sampler is not None and self._sure and adapter == self._adapter:
            return
        self._sure = False
        self._adapter = None  # if the sampler is made by this call, it need not load the old one first
        self.sampler().use(adapter)
        self._adapter, self._sure = adapter, True

    def sampler(self) -> Sampler:
        if self._sampler is None:
            if self._spec.device != "cpu":
                self._free_trainer()
            self._sampler = make_sampler(self._spec)
            if self._adapter is not None:
                self._sampler.use(self._adapter)
        return self._sampler

    def trainer(self) -> Trainer:
        if self._trainer is None:
            if self._spec.device != "cpu":
                self.close()
            self._trainer = make_trainer(self._spec)
        return self._trainer

    def close(self) -> None:
        """Free the sampler."""
        if self._sampler is not None:
            self._sampler.close()
            self._sampler = None
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


def make_sampler(spec: GpuSpec) -> Sampler:
    if spec.sampler == "scripted":
        return _scripted(spec)
    if spec.sampler == "vllm":
        from star_engine.vllm_sampler import VllmSampler

        options = {"threads": spec.threads, **spec.options}
        return VllmSampler(spec.base_model, max_length=spec.max_length, **options)
    from star_engine.transformers_sampler import TransformersSampler

    return TransformersSampler(
        spec.base_model,
        max_length=spec.max_length,
        batch_size=spec.sampler_batch,
        threads=spec.threads,
        device=spec.device,
    )


def make_trainer(spec: GpuSpec) -> Trainer:
    if spec.sampler == "scripted":
        return RecordingTrainer(_script(spec), before_step=_named(spec.options.get("before_step")))
    if spec.training_ranks > 1:
        from star_engine.parallel_trainer import ParallelTrainer

        return ParallelTrainer(
            spec.base_model, ranks=spec.training_ranks, threads=spec.threads, device=spec.device
        )
    from star_engine.lora_trainer import LoraTrainer

    return LoraTrainer(spec.base_model, threads=spec.threads, device=spec.device)


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
