"""What every user of a base model in PyTorch needs: loading it, its tokens, logits at chosen positions."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer


def has_cuda() -> bool:
    return torch.cuda.is_available()


def device_bytes() -> int:
    """Memory of the first CUDA device, whoever uses it."""
    return int(torch.cuda.get_device_properties(0).total_memory)


def free_bytes(device: torch.device) -> int | None:
    """Memory of a CUDA device that nobody uses; None: a CPU's, which is not the limit."""
    return int(torch.cuda.mem_get_info(device)[0]) if device.type == "cuda" else None


def free_memory() -> None:
    """Give back what nothing refers to any more: PyTorch keeps it for itself, and other processes need it."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def set_threads(threads: int | None) -> int:
    """Compute with so many threads (None: what PyTorch would use) from now on; how many that is."""
    if threads is not None:
        torch.set_num_threads(threads)
    return torch.get_num_threads()


def load_model(
    path: Path, *, dtype: torch.dtype, device: str, attention: str | None = None, quantization: Any = None
) -> Any:
    """The model of a local folder, frozen, in evaluation mode. Never executes code from the folder.

    Weights go to the device one by one: the machine's memory never holds the whole model beside a GPU.
    quantization: transformers' config of how they are quantized on the way; None: they are not.
    """
    model: Any = AutoModelForCausalLM.from_pretrained(
        path,
        dtype=dtype,
        attn_implementation=attention or attention_of(path),
        local_files_only=True,
        use_safetensors=True,
        device_map=None if device == "cpu" and quantization is None else {"": device},
        quantization_config=quantization,
    )
    return model.requires_grad_(False).eval()


def attention_of(path: Path) -> str:
    """Return the attention of transformers that computes what the model of a folder was made with.

    PyTorch's fused attention knows no soft cap (Gemma 2) and ignores it without a word; vLLM applies it.
    """
    config = AutoConfig.from_pretrained(path, local_files_only=True)
    return "eager" if getattr(config, "attn_logit_softcapping", None) else "sdpa"


def load_tokenizer(path: Path) -> Any:
    tokenizer: Any = AutoTokenizer.from_pretrained(path, local_files_only=True)
    if not tokenizer.is_fast:
        raise ValueError(
            f"The tokenizer of base model {path.name} has no token offsets: a fast tokenizer is needed."
        )
    return tokenizer


def context_length(path: Path, max_length: int | None) -> int:
    """Tokens of prompt and completion that fit: the model's limit, or less where the caller wants less."""
    limit = getattr(AutoConfig.from_pretrained(path, local_files_only=True), "max_position_embeddings", None)
    lengths = [length for length in (limit, max_length) if length is not None]
    if not lengths:
        raise ValueError(f"Base model {path.name} states no context length: give max_length.")
    return min(lengths)


def eos_ids(path: Path, tokenizer: Any) -> tuple[int, ...]:
    """Tokens that end a text: the tokenizer's, which training appends, and generation_config.json's."""
    from transformers import GenerationConfig

    ids = {tokenizer.eos_token_id}
    if (path / "generation_config.json").exists():
        listed = GenerationConfig.from_pretrained(path, local_files_only=True).eos_token_id
        ids.update(listed if isinstance(listed, list) else [listed])
    ids.discard(None)
    if not ids:
        raise ValueError(
            f"Base model {path.name} has no end-of-sequence token: no completion could ever end."
        )
    return tuple(sorted(ids))


def prompt_ids(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    """Tokens of each prompt as the model continues it: with BOS where the tokenizer adds one, without EOS.

    A text that begins with BOS, as those of chat templates do, has all of its special tokens and gets none.
    """
    return [
        list(one["input_ids"]) if writes_bos(tokenizer, text) else _without_added_eos(tokenizer, one, text)
        for one, text in zip(encode(tokenizer, texts, mask=True), texts, strict=True)
    ]


def writes_bos(tokenizer: Any, text: str) -> bool:
    """Whether a text begins with the tokenizer's BOS, which must not be added to it again."""
    return bool(tokenizer.bos_token) and text.startswith(tokenizer.bos_token)


def encode(
    tokenizer: Any, texts: Sequence[str], *, offsets: bool = False, mask: bool = False
) -> list[dict[str, Any]]:
    """input_ids of each text, with offset_mapping and special_tokens_mask as wanted; BOS is never doubled."""
    found: dict[int, dict[str, Any]] = {}
    for own in (False, True):
        numbers = [n for n, text in enumerate(texts) if writes_bos(tokenizer, text) is own]
        if not numbers:
            continue
        many = tokenizer(
            [texts[n] for n in numbers],
            add_special_tokens=not own,
            return_offsets_mapping=offsets,
            return_special_tokens_mask=mask,
        )
        found |= {n: {name: values[at] for name, values in many.items()} for at, n in enumerate(numbers)}
    return [found[n] for n in range(len(texts))]


def _without_added_eos(tokenizer: Any, encoded: dict[str, Any], text: str) -> list[int]:
    ids, special = list(encoded["input_ids"]), encoded["special_tokens_mask"]
    added = (
        ids and special[-1] and ids[-1] == tokenizer.eos_token_id and not text.endswith(tokenizer.eos_token)
    )
    return ids[:-1] if added else ids


def text_after(
    tokenizer: Any, prompt: Sequence[int], generated: Sequence[int], *, special: bool = False
) -> str:
    """Text of generated tokens. Some decoders drop a leading space: a few prompt tokens are decoded along.

    special: whether special tokens stand in it.
    """
    context = list(prompt[-4:])

    def text(ids: list[int]) -> str:
        written: str = tokenizer.decode(
            ids, skip_special_tokens=not special, clean_up_tokenization_spaces=False
        )
        return written

    return text([*context, *generated])[len(text(context)) :]


@contextmanager
def logits_at(model: Any, rows: torch.Tensor, columns: torch.Tensor) -> Iterator[None]:
    """Inside, the model's forward returns logits of shape (1, len(rows), vocabulary) at these positions only.

    The hidden states are picked on their way into the output layer, so whatever a model does to its logits
    afterwards (soft caps, scaling) still happens. The output layer is 21 % of SmolLM2's FLOPs, and its logits
    are the largest tensor of a training step.
    """

    def pick(_: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        states = inputs[0]  # by one index: the gradient of two is sorted first on CUDA
        places = rows * states.shape[1] + columns
        return (states.flatten(0, 1).index_select(0, places).unsqueeze(0), *inputs[1:])

    handle = model.get_output_embeddings().register_forward_pre_hook(pick)
    try:
        yield
    finally:
        handle.remove()


def refuse_sliding_window(config: Any, max_length: int) -> None:
    """Slots hold every token and show every row all of its own: right only where the window never slides."""
    window = getattr(config, "sliding_window", None)
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    used = getattr(config, "use_sliding_window", True) if kinds <= {"full_attention"} else True
    if kinds - {"full_attention", "sliding_attention"} or (window and used and max_length > window):
        raise ValueError("This sampler knows full attention only: use the vLLM sampler for this model.")
