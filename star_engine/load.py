"""What a run needs from disk: a base model, a dataset, a prompt set."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from star_engine.data.files import read_file
from star_engine.data.prompt_sets import read_prompt_set
from star_engine.protocols import Sampler, Trainer
from star_engine.tasks.examples import Example, PromptSet, assign_splits
from star_engine.tasks.kind import Kind


def load_model(
    folder: Path | str,
    *,
    sampler: Literal["transformers", "vllm"] = "transformers",
    device: str = "cpu",
    rank: int = 8,
    gpu_memory_utilization: float = 0.5,
    quantization: Literal["nf4"] | None = None,
) -> tuple[Sampler, Trainer]:
    """A sampler and a trainer of one base model. Here torch and vLLM are imported, which takes seconds.

    device: of the trainer and of the transformers sampler, as torch names it. rank: of the LoRA adapters.
    gpu_memory_utilization: vLLM's share of the GPU, 0 to 1; the trainer needs the rest.
    quantization: of the base model while it is trained on, as `training.quantization` of the runs asks for.
    """
    from star_engine.gpu.training.lora_trainer import LoraTrainer

    base = Path(folder)
    trainer = LoraTrainer(base, device=device, quantization=quantization)
    if sampler == "vllm":
        from star_engine.gpu.vllm_sampler import VllmSampler

        share = gpu_memory_utilization
        return VllmSampler(base, device=device, max_lora_rank=rank, gpu_memory_utilization=share), trainer
    from star_engine.gpu.transformers_sampler import TransformersSampler

    return TransformersSampler(base, device=device), trainer


def load_dataset(
    path: Path | str, kind: Kind | str, *, held_out: int = 200, seed: int = 0
) -> tuple[list[Example], list[Example]]:
    """The train and the held-out examples of a file of JSONL, or of a JSON array.

    held_out: how many examples are taken from the train split where no row is marked as validation. Raises
    BadRows, which names every mistake.
    """
    split = assign_splits(read_file(Path(path), Kind(kind)), held_out, seed)
    train = [example for example in split if example.split == "train"]
    return train, [example for example in split if example.split == "validation"]


def load_prompt_set(path: Path | str, kind: Kind | str) -> PromptSet:
    """A prompt set, as JSON or in the plain text of the paper. Raises BadRows."""
    return read_prompt_set(Path(path).read_bytes(), Kind(kind))
