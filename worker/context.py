"""What a worker holds between steps: connections, the warm GPU process, models and adapters on its disk."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import Engine

from app.database import reading
from app.ledger.queue.steps import Claim
from app.ledger.results.adapters import adapter_to_ask
from app.settings import Settings
from app.storage import Storage
from app.tables.data import Model
from app.tables.rationales import Adapter
from star_engine.adapters.layout import CONFIG, HEAD, THINKING, WEIGHTS
from worker.base_models import BaseModels
from worker.gpu.fitness import Fitness
from worker.gpu.pipe import GpuPipe
from worker.gpu.process import GpuProcess, GpuSpec, prepare
from worker.gpu.sampled import Sampled
from worker.lease import Lease

STICK_SECONDS = 60.0  # with a model, from the first look for work after it was loaded
CUDA_ROOM = 512  # vLLM runs 256 to 1024 sequences at once there


@dataclass(slots=True)
class WorkerContext:
    engine: Engine
    storage: Storage
    settings: Settings
    worker_id: str
    draining: Callable[[], bool]
    abandon: Callable[[], None] = lambda: None  # ends this process where it hangs in a call for good
    base_models: BaseModels = field(default_factory=BaseModels)
    halvings: int = 0  # of the sampler's batch, for a step that has run out of memory before
    warm_model: str | None = None  # the model that the GPU process holds
    _loaded_at: float | None = None  # monotonic: when it first looked for work with that model
    fitness: Fitness = field(init=False)
    _gpu: GpuProcess | None = None
    _sampled: Sampled = field(default_factory=Sampled)  # by the GPU processes before
    _prepared: GpuPipe | None = None  # a GPU process without a model

    def __post_init__(self) -> None:
        self.fitness = Fitness(self.engine, self.settings, self.worker_id)

    @property
    def folder(self) -> Path:
        """Return this worker's own folder; nobody else needs its files."""
        return self.settings.home.absolute() / "worker"

    @property
    def room(self) -> int:
        """While no more requests than these wait for the sampler, it can take in another step's."""
        if self._serves_beside:
            return max(self.settings.sampler_batch, CUDA_ROOM)
        return max(1, self.settings.sampler_batch >> self.halvings)

    def gpu(self, model_id: str, lora_rank: int, quantization: Literal["nf4"] | None = None) -> GpuProcess:
        """The warm GPU process for this base model and adapters of this rank; another one is ended first.

        quantization: of the base model while an adapter is trained.
        """
        with reading(self.engine) as session:
            model = session.get_one(Model, model_id)
            twin = None if model.trained_as is None else session.get_one(Model, model.trained_as)
        trained_as = None if twin is None else self.base_models.find(twin)
        spec = replace(self._spec(model, lora_rank), quantization=quantization, trained_as=trained_as)
        if trained_as is not None:  # on CPU too its adapters are served beside it
            spec = replace(spec, lora_rank=lora_rank)
        if self._gpu is not None and not self._gpu.matches(spec):
            self.drop_gpu()
        if self._gpu is None:
            self._gpu = GpuProcess(spec, self._gpu_log, prepared=self._prepared)
            self._prepared = None
            self._gpu.model = self.warm_model = model_id
            self._loaded_at = None
        return self._gpu

    def sticks(self) -> bool:
        """Whether its model was loaded so recently that projects who ask another one wait a little longer."""
        if self.warm_model is None:
            return False
        if self._loaded_at is None:
            self._loaded_at = time.monotonic()
        return time.monotonic() - self._loaded_at < STICK_SECONDS

    def prepare_gpu(self) -> None:
        """Import what a GPU process needs before the first step comes, where that takes long."""
        if self.settings.sampler == "vllm":
            self._prepared = prepare(self.settings.threads, self._gpu_log)

    @property
    def _serves_beside(self) -> bool:
        """Whether adapters are served beside the base model, not merged: then their rank sizes the engine."""
        return self.settings.sampler == "vllm" and self.settings.device != "cpu"

    @property
    def _gpu_log(self) -> Path:
        return self.folder / f"gpu-{self.worker_id.rpartition(':')[2]}.log"

    @property
    def sampled(self) -> Sampled:
        """What was sampled here since the worker began."""
        return self._sampled if self._gpu is None else self._sampled + self._gpu.sampled

    def drop_gpu(self) -> None:
        """Kill the GPU process, if there is one: its state is unknown or unwanted."""
        if self._gpu is not None:
            self._sampled += self._gpu.sampled
            self._gpu.kill()
        self._gpu, self.warm_model = None, None

    def gpu_rests(self, seconds: float) -> bool:
        """Whether the GPU process, if there is one, ends its work within so many seconds and stays warm."""
        return self._gpu is None or self._gpu.comes_to_rest(seconds)

    def fetch_adapter(self, job_id: str, iteration: int) -> Path | None:
        """A folder with the adapter's config and weights, sha256 checked; None if there is none."""
        with reading(self.engine) as session:
            adapter = adapter_to_ask(session, job_id, iteration)
        return None if adapter is None else self.unpack(adapter)

    def unpack(self, adapter: Adapter) -> Path:
        """A folder with what the adapter is loaded from, sha256 checked."""
        loaded = (CONFIG, WEIGHTS, HEAD, THINKING)
        wanted = {entry["path"]: entry["sha256"] for entry in adapter.files if entry["path"] in loaded}
        folder = self.folder / "adapters" / adapter.id
        if folder.is_dir():
            return folder
        partial = folder.with_name(f".{adapter.id}.{self.worker_id.rpartition(':')[2]}")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        for name, sha256 in wanted.items():
            self.storage.fetch(sha256, partial / name)
        try:
            partial.rename(folder)
        except OSError:  # another worker on this machine was first
            if not folder.is_dir():
                raise
            shutil.rmtree(partial)
        return folder

    def _spec(self, model: Model, lora_rank: int) -> GpuSpec:
        options: dict[str, Any] = dict(self.settings.sampler_options)
        if self.settings.sampler == "scripted":
            options["script"] = self.settings.sampler_script
        if self.settings.sampler == "vllm" and model.gpus > 1:
            options.setdefault("tensor_parallel_size", model.gpus)
        return GpuSpec(
            base_model=self.base_models.find(model),
            sampler=self.settings.sampler,
            device=self.settings.device,
            threads=self.settings.threads,
            sampler_batch=max(1, self.settings.sampler_batch >> self.halvings),
            training_ranks=self.settings.gpus,
            sharding=self.settings.sharding,
            max_length=model.context_length,
            lora_rank=lora_rank if self._serves_beside else 0,
            halvings=self.halvings if self.settings.sampler == "vllm" else 0,
            options=options,
        )


@dataclass(frozen=True, slots=True)
class ClaimedGpu:
    """The warm GPU process as a claimed step's phase sees it: whatever it does stops with the lease."""

    worker: WorkerContext
    claim: Claim
    lease: Lease

    def sampler(self, iteration: int) -> GpuProcess:
        gpu = self.trainer()
        gpu.use(self.worker.fetch_adapter(self.claim.job_id, iteration) if iteration > 0 else None)
        return gpu

    def scorer(self, adapter: Path | None) -> GpuProcess:
        gpu = self.trainer()
        gpu.use(adapter)
        return gpu

    def thoughts(self) -> GpuProcess:
        return self.trainer()

    def trainer(self) -> GpuProcess:
        training = self.claim.config.training
        gpu = self.worker.gpu(self.claim.model_id, training.lora.rank, training.quantization)
        gpu.check, self.lease.gpu = self.lease.check, gpu
        return gpu
