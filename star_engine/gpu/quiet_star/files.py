"""The files of a Quiet-STaR adapter: a LoRA adapter as PEFT reads it, the head, and the settings."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from star_engine.adapters.layout import CONFIG, HEAD, THINKING, WEIGHTS, BaseModel, rewrite_config
from star_engine.config.quiet_star import QuietStar
from star_engine.gpu.peft_alone import peft
from star_engine.gpu.quiet_star.thought_head import ThoughtHead
from star_engine.gpu.training.train_checkpoint import fsync
from star_engine.protocols import BadAdapter


def write_quiet_adapter(model: Any, head: ThoughtHead, settings: QuietStar, base: str, out: Path) -> None:
    """Write four files, each complete under its name or not there; the LoRA config comes last."""
    out.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as name:
        folder = Path(name)
        model.save_pretrained(folder, safe_serialization=True)
        rewrite_config(folder, BaseModel(base))
        tensors = {key: tensor.contiguous().cpu() for key, tensor in head.state_dict().items()}
        save_file(tensors, folder / HEAD)
        (folder / THINKING).write_text(settings.model_dump_json(indent=2) + "\n")
        for file in (HEAD, THINKING, WEIGHTS, CONFIG):
            fsync(folder / file)
            (folder / file).replace(out / file)
    fsync(out)


def load_into(model: Any, head: ThoughtHead, folder: Path) -> None:
    """Let a fresh adapter and head be those of a folder, which have the same shape. Raises BadAdapter."""
    try:
        found = peft.set_peft_model_state_dict(model, load_file(folder / WEIGHTS))
        head.load_state_dict(load_file(folder / HEAD))
    except (OSError, ValueError, RuntimeError, SafetensorError) as problem:
        raise BadAdapter(f"The adapter cannot be gone on from: {problem}") from problem
    if found.unexpected_keys:
        raise BadAdapter(f"The adapter cannot be gone on from: it holds {found.unexpected_keys[0]} besides.")


def load_quiet_adapter(base: Any, folder: Path) -> tuple[Any, ThoughtHead, QuietStar]:
    """The base model under the adapter of a folder, its head, its settings. Raises BadAdapter."""
    try:
        settings = QuietStar.model_validate_json((folder / THINKING).read_bytes())
        tensors = load_file(folder / HEAD)
        embedding = torch.zeros(base.get_input_embeddings().weight.shape[1])
        head = ThoughtHead(
            embedding, initial_weight=settings.initial_weight, embedding_scale=settings.embedding_scale
        )
        head.load_state_dict(tensors)
        model: Any = peft.PeftModel.from_pretrained(base, str(folder), local_files_only=True)
    except (OSError, ValueError, RuntimeError, SafetensorError) as problem:
        raise BadAdapter(f"The Quiet-STaR adapter cannot be loaded: {problem}") from problem
    return model.eval(), head.eval().to(base.device), settings
