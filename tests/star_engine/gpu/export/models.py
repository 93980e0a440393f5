"""Small random models of the families that a GGUF can hold, and an adapter of each that changes it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from tokenizers import AddedToken, Regex, Tokenizer, models, pre_tokenizers, processors, trainers
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast
from transformers.models.llama import LlamaConfig
from transformers.models.qwen2 import Qwen2Config
from transformers.models.qwen3 import Qwen3Config

from star_engine.adapters.layout import BaseModel, rewrite_config

TEMPLATE = "{% for m in messages %}<|im_start|>{{ m['content'] }}<|im_end|>{% endfor %}"
LETTERS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
CORPUS = ["What is 12 + 30? It is 42, isn't it?\n\nThe answer is 42.", "Wie viele Äpfel hat sie? 1234567 名"]
SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "eos_token_id": 2,
    "bos_token_id": 1,
    "pad_token_id": 0,
}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 10000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
KINDS = {
    "llama-bpe": lambda: LlamaConfig(**SIZES, rope_parameters=LLAMA3, vocab_size=400, attention_bias=True),
    "smollm": lambda: LlamaConfig(**SIZES, tie_word_embeddings=True, vocab_size=400),
    "qwen2": lambda: Qwen2Config(**SIZES, vocab_size=400),
    # 128: what transformers takes a head of Qwen3 to have when it reads a GGUF
    "gpt-2": lambda: Qwen3Config(**SIZES, head_dim=128, vocab_size=400),
}
SPLITS: dict[str, list[Any]] = {
    "llama-bpe": [
        pre_tokenizers.Split(Regex(LETTERS + r"\p{N}{1,3}" + REST), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ],
    "qwen2": [
        pre_tokenizers.Split(Regex(LETTERS + r"\p{N}" + REST), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ],
    "smollm": [
        pre_tokenizers.Digits(individual_digits=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False),
    ],
    "gpt-2": [pre_tokenizers.ByteLevel(add_prefix_space=False)],
}


def write_model(kind: str, folder: Path, dtype: torch.dtype = torch.float32, **saved: Any) -> Path:
    """Base model in `folder / "base"`, adapter in `folder / "adapter"`; returns the folder."""
    torch.manual_seed(7)
    base = AutoModelForCausalLM.from_config(KINDS[kind](), dtype=dtype)
    base.save_pretrained(folder / "base", **saved)
    write_tokenizer(kind, folder / "base")
    modules = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    adapted = get_peft_model(
        base, LoraConfig(r=4, lora_alpha=8, target_modules=modules, task_type="CAUSAL_LM")
    )
    with torch.no_grad():
        for name, weight in adapted.named_parameters():
            if "lora_" in name:
                weight.normal_(std=0.2)
    adapted.save_pretrained(folder / "adapter")
    rewrite_config(folder / "adapter", BaseModel("tiny"))
    return folder


def write_tokenizer(kind: str, folder: Path) -> None:
    tokenizer = Tokenizer(models.BPE(ignore_merges=kind == "llama-bpe"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(SPLITS[kind])
    named = ["<pad>", "<|im_start|>", "<|im_end|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=320, special_tokens=named, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    tokenizer.train_from_iterator(CORPUS * 3, trainer)
    tokenizer.add_tokens([AddedToken("<think>", normalized=False)])
    if kind == "llama-bpe":
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<|im_start|> $A", special_tokens=[("<|im_start|>", 1)]
        )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<|im_start|>", eos_token="<|im_end|>", pad_token="<pad>"
    )
    fast.chat_template = TEMPLATE
    fast.save_pretrained(folder)
