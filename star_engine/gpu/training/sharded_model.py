"""A base model that no single device holds: the weights of its layers cut into a piece for each rank (FSDP2).

A layer's weights are gathered from all ranks when it computes, and dropped again. What is small stays whole
on every rank: embedding, final norm, output layer, and the adapter, whose layers PEFT adds later. The frozen
weights have no gradients, so the ranks exchange nothing on the way back but the same pieces, and optimizer,
checkpoints and adapter files are those of one process.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from accelerate import init_empty_weights
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.modeling_layers import GradientCheckpointingLayer

from star_engine.adapters.weight_files import tensor_entries, weight_files
from star_engine.gpu.causal_lm import attention_of


def load_sharded(path: Path, *, dtype: torch.dtype, device: torch.device, ranks: int) -> Any:
    """The model of a local folder as `load_model` has it, with this rank's piece of every layer.

    Each rank reads its own pieces from the files: no process ever holds the whole model. Needs the process
    group of all `ranks`. Raises ValueError for models whose files name their weights otherwise.
    """
    config = AutoConfig.from_pretrained(path, local_files_only=True)
    with init_empty_weights(include_buffers=False):
        model: Any = AutoModelForCausalLM.from_config(
            config, dtype=dtype, attn_implementation=attention_of(path)
        )
    model.tie_weights()
    model.requires_grad_(False).eval()
    mesh = init_device_mesh(device.type, (ranks,))
    layers = [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]
    sharded = {weight for layer in layers for weight in layer.parameters()}
    for layer in layers:
        fully_shard(layer, mesh=mesh, reshard_after_forward=True)
    fully_shard(model, mesh=mesh, ignored_params=set(model.parameters()) - sharded)
    _read_weights(model, path, device)
    return model.requires_grad_(False)


def _read_weights(model: Any, path: Path, device: torch.device) -> None:
    """Put into a model without weights those of its files: of a sharded one this rank's piece."""
    weights = {name: torch.empty_like(weight, device=device) for name, weight in model.named_parameters()}
    found = {name for file in weight_files(path) for name in tensor_entries(file)[0]}
    if missing := sorted(weights.keys() - found):
        raise ValueError(
            f"Base model {path.name} cannot be trained on GPUs that hold a part of it each: its files have "
            f"no weight {missing[0]}."
        )
    load(weights, storage_reader=HuggingFaceStorageReader(str(path)), no_dist=True)
    model.load_state_dict(weights, strict=False, assign=True)
    model.tie_weights()
    for module in model.modules():
        for name, buffer in module.named_buffers(recurse=False):
            setattr(module, name, buffer.to(device))


def first_values(weight: torch.Tensor) -> torch.Tensor:
    """Return the first 64 numbers of a weight, or of this rank's piece of it."""
    own = weight.to_local() if isinstance(weight, DTensor) else weight
    return own.detach().flatten()[:64].float().cpu()
