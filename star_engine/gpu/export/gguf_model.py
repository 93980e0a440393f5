"""A base model with an adapter merged, as one GGUF for llama.cpp, Ollama and LM Studio.

Written are the families whose conversion is known to be right: Llama (SmolLM2 among them), Qwen2 and
Qwen3, in the type in which the base model stores its weights. Whatever else there is, is refused.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from safetensors import safe_open

from star_engine.adapters.weight_files import tensor_entries, weight_files
from star_engine.gpu.export.gguf_tokenizer import GgufTokenizer, read_tokenizer
from star_engine.gpu.export.merged import merged_tensor, tensor_bytes, updates_of
from star_engine.gpu.export.parts import CannotExport, Part

# transformers' name -> (llama.cpp's, whether queries and keys are stored in another order there)
ARCHITECTURES = {
    "LlamaForCausalLM": (gguf.MODEL_ARCH.LLAMA, True),
    "Qwen2ForCausalLM": (gguf.MODEL_ARCH.QWEN2, False),
    "Qwen3ForCausalLM": (gguf.MODEL_ARCH.QWEN3, False),
}
TYPES = {
    "F32": (gguf.GGMLQuantizationType.F32, gguf.LlamaFileType.ALL_F32),
    "F16": (gguf.GGMLQuantizationType.F16, gguf.LlamaFileType.MOSTLY_F16),
    "BF16": (gguf.GGMLQuantizationType.BF16, gguf.LlamaFileType.MOSTLY_BF16),
}
_NEEDED = (
    "num_hidden_layers",
    "hidden_size",
    "intermediate_size",
    "num_attention_heads",
    "max_position_embeddings",
    "rms_norm_eps",
)
_ELSE = "take the merged weights, and convert them with llama.cpp."
_FREQUENCIES = "rope_freqs.weight"


@dataclass(frozen=True, slots=True)
class _Tensor:
    """A tensor of the file: where it is read from, and how it is stored."""

    name: str
    source: str  # its name in the base model
    file: Path
    shape: tuple[int, ...]
    dtype: str  # as safetensors names it
    heads: int = 0  # above 0: the rows of each of so many heads are put into llama.cpp's order

    @property
    def size_bytes(self) -> int:
        return math.prod(self.shape) * (4 if self.dtype == "F32" else 2)


def gguf_file(base: Path, adapter: Path, name: str) -> Part:
    """The merged model as one file. Raises BadAdapter, and CannotExport for a model that is not known."""
    config = json.loads((base / "config.json").read_text(encoding="utf-8"))
    arch, reorders = _architecture(config)
    if missing := [key for key in _NEEDED if key not in config]:
        raise CannotExport(f"The base model's config.json does not give {missing[0]}: {_ELSE}")
    updates = updates_of(base, adapter)
    tensors = _tensors(base, config, arch, reorders)
    embedded = next(one for one in tensors if one.name == "token_embd.weight")
    tokenizer = read_tokenizer(base, embedded.shape[0])
    frequencies = _frequencies(config)
    head = _head(config, arch, name, tokenizer, tensors, frequencies)
    places = ([] if frequencies is None else [frequencies.nbytes]) + [one.size_bytes for one in tensors]

    def chunks() -> Iterator[bytes]:
        yield head
        if frequencies is not None:
            yield _padded(frequencies.tobytes())
        for one in tensors:
            with safe_open(one.file, framework="pt") as weights:
                yield _padded(tensor_bytes(_stored(merged_tensor(weights, one.source, updates), one)))

    return Part(name, len(head) + sum(map(_padded_size, places)), chunks)


def _architecture(config: Mapping[str, Any]) -> tuple[gguf.MODEL_ARCH, bool]:
    named = (config.get("architectures") or ["a model without a name"])[0]
    if named not in ARCHITECTURES:
        known = ", ".join(sorted(ARCHITECTURES))
        raise CannotExport(f"{named} is not written as GGUF here, only {known}: {_ELSE}")
    if config.get("use_sliding_window"):
        raise CannotExport(
            f"The model attends within a sliding window, which its GGUF would not say: {_ELSE}"
        )
    if config.get("hidden_act", "silu") != "silu" or config.get("mlp_bias"):
        raise CannotExport(f"The model's feed-forward layers are not those of its family: {_ELSE}")
    return ARCHITECTURES[named]


def _tensors(base: Path, config: Mapping[str, Any], arch: gguf.MODEL_ARCH, reorders: bool) -> list[_Tensor]:
    names = gguf.get_tensor_name_map(arch, int(config["num_hidden_layers"]))
    heads = {"q_proj": int(config["num_attention_heads"]), "k_proj": _kv_heads(config)}
    tied = bool(config.get("tie_word_embeddings"))
    found = []
    for file in weight_files(base):
        entries, _ = tensor_entries(file)
        for source, entry in entries.items():
            if source.endswith("rotary_emb.inv_freq") or (tied and source == "lm_head.weight"):
                continue
            name = names.get_name(source, try_suffixes=(".weight", ".bias"))
            if name is None or entry["dtype"] not in TYPES:
                raise CannotExport(f"The weight {source} ({entry['dtype']}) has no place in a GGUF.")
            own = heads.get(source.split(".")[-2], 0) if reorders else 0
            dtype = "F32" if len(entry["shape"]) == 1 else entry["dtype"]  # what llama.cpp expects of norms
            found.append(_Tensor(name, source, file, tuple(entry["shape"]), dtype, own))
    return sorted(found, key=lambda one: one.name)


def _stored(weight: torch.Tensor, tensor: _Tensor) -> torch.Tensor:
    if tensor.heads:
        # transformers turns the halves of a head against each other, llama.cpp neighbours
        rows = weight.shape[0]
        halves = weight.reshape(tensor.heads, 2, rows // tensor.heads // 2, *weight.shape[1:])
        weight = halves.swapaxes(1, 2).reshape(weight.shape)
    return weight.float() if tensor.dtype == "F32" else weight


def _head(
    config: Mapping[str, Any],
    arch: gguf.MODEL_ARCH,
    name: str,
    tokenizer: GgufTokenizer,
    tensors: list[_Tensor],
    frequencies: np.ndarray[Any, Any] | None,
) -> bytes:
    """All that stands before the first tensor's data: some megabytes, most of them the vocabulary."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "head.gguf"
        writer = gguf.GGUFWriter(path, gguf.MODEL_ARCH_NAMES[arch])
        _say_model(writer, config, name.removesuffix(".gguf"), tensors)
        _say_tokenizer(writer, tokenizer)
        if frequencies is not None:
            writer.add_tensor_info(_FREQUENCIES, frequencies.shape, frequencies.dtype, frequencies.nbytes)
        for one in tensors:
            raw = TYPES[one.dtype][0]
            writer.add_tensor_info(one.name, one.shape, np.dtype(np.float32), one.size_bytes, raw_dtype=raw)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        writer.close()
        return _padded(path.read_bytes())


def _say_model(writer: gguf.GGUFWriter, config: Mapping[str, Any], name: str, tensors: list[_Tensor]) -> None:
    heads, hidden = int(config["num_attention_heads"]), int(config["hidden_size"])
    head = int(config.get("head_dim") or hidden // heads)
    matrices = [one.dtype for one in tensors if len(one.shape) > 1]
    writer.add_name(name)
    writer.add_type(gguf.GGUFType.MODEL)
    writer.add_block_count(int(config["num_hidden_layers"]))
    writer.add_context_length(int(config["max_position_embeddings"]))
    writer.add_embedding_length(hidden)
    writer.add_feed_forward_length(int(config["intermediate_size"]))
    writer.add_head_count(heads)
    writer.add_head_count_kv(_kv_heads(config))
    writer.add_layer_norm_rms_eps(float(config["rms_norm_eps"]))
    writer.add_vocab_size(next(one.shape[0] for one in tensors if one.name == "token_embd.weight"))
    writer.add_rope_dimension_count(head)
    if head != hidden // heads or writer.arch == "qwen3":
        writer.add_key_length(head)
        writer.add_value_length(head)
    rope = _rope(config)
    writer.add_rope_freq_base(float(rope.get("rope_theta", 10000.0)))
    if rope["rope_type"] == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(float(rope["factor"]))
    writer.add_file_type(TYPES[max(set(matrices), key=matrices.count)][1])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)


def _say_tokenizer(writer: gguf.GGUFWriter, tokenizer: GgufTokenizer) -> None:
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(tokenizer.pre)
    writer.add_token_list(tokenizer.tokens)
    writer.add_token_types(tokenizer.types)
    writer.add_token_merges(tokenizer.merges)
    say = {
        "bos": writer.add_bos_token_id,
        "eos": writer.add_eos_token_id,
        "unk": writer.add_unk_token_id,
        "pad": writer.add_pad_token_id,
    }
    for name, number in tokenizer.special.items():
        say[name](number)
    writer.add_add_bos_token(tokenizer.adds_bos)
    writer.add_add_space_prefix(False)
    if tokenizer.chat_template is not None:
        writer.add_chat_template(tokenizer.chat_template)


def _kv_heads(config: Mapping[str, Any]) -> int:
    return int(config.get("num_key_value_heads") or config["num_attention_heads"])


def _rope(config: Mapping[str, Any]) -> dict[str, Any]:
    """How positions are turned, from either place in which transformers has written it."""
    found = dict(config.get("rope_parameters") or config.get("rope_scaling") or {})
    found.setdefault("rope_theta", config.get("rope_theta") or 10000.0)
    found["rope_type"] = found.get("rope_type") or found.get("type") or "default"
    if found["rope_type"] not in ("default", "linear", "llama3"):
        scaling = found["rope_type"]
        raise CannotExport(f"The model scales its positions by {scaling}, which is not known here: {_ELSE}")
    return found


def _frequencies(config: Mapping[str, Any]) -> np.ndarray[Any, Any] | None:
    """By how much Llama 3.1 slows each of its positions' waves: long ones by `factor`, short ones not."""
    rope = _rope(config)
    if rope["rope_type"] != "llama3":
        return None
    head = int(config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"])
    waves = 2 * math.pi * float(rope["rope_theta"]) ** (np.arange(0, head, 2, dtype=np.float32) / head)
    factor, context = float(rope["factor"]), float(rope["original_max_position_embeddings"])
    low, high = float(rope["low_freq_factor"]), float(rope["high_freq_factor"])
    smooth = np.clip((context / waves - low) / (high - low), 0.0, 1.0)
    slowed: np.ndarray[Any, Any] = (1.0 / ((1 - smooth) / factor + smooth)).astype(np.float32)
    return slowed


def _padded_size(size: int) -> int:
    return size + -size % gguf.GGUF_DEFAULT_ALIGNMENT


def _padded(data: bytes) -> bytes:
    return data + bytes(_padded_size(len(data)) - len(data))
