"""Merged weights and GGUF: other libraries load them, and write what PEFT writes."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest
import torch
from gguf import GGUFReader
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

from star_engine.gpu.export.gguf_model import gguf_file
from star_engine.gpu.export.merged import merged_archive
from star_engine.gpu.export.parts import CannotExport, Part
from star_engine.protocols import BadAdapter
from tests.star_engine.gpu.export.models import CORPUS, KINDS, TEMPLATE, write_model

IDS = torch.tensor([[5, 40, 41, 42, 90, 7, 260, 300, 11, 12, 13, 14] * 12])


def written(part: Part, folder: Path) -> Path:
    path = folder / part.name
    path.write_bytes(b"".join(part.chunks()))
    assert path.stat().st_size == part.size_bytes
    return path


def logits(model: Any) -> torch.Tensor:
    with torch.inference_mode():
        found: torch.Tensor = model(IDS).logits.float()
    return found


def of_peft(folder: Path) -> torch.Tensor:
    base = AutoModelForCausalLM.from_pretrained(folder / "base")
    adapted = PeftModel.from_pretrained(base, folder / "adapter")
    without = adapted.disable_adapter
    found = logits(adapted)
    with without():
        assert not torch.allclose(logits(adapted), found, atol=0.05)
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_gguf_loads_in_transformers_and_answers_as_the_adapter_does(tmp_path: Path, kind: str) -> None:
    folder = write_model(kind, tmp_path)
    path = written(gguf_file(folder / "base", folder / "adapter", "tiny.gguf"), tmp_path)
    if kind == "llama-bpe":  # transformers reads no frequencies from a GGUF: llama.cpp's are checked below
        return
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file=path.name, dtype=torch.float32)
    torch.testing.assert_close(logits(loaded), of_peft(folder), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_gguf_holds_the_tokenizer_and_how_it_splits(tmp_path: Path, kind: str) -> None:
    folder = write_model(kind, tmp_path)
    path = written(gguf_file(folder / "base", folder / "adapter", "tiny.gguf"), tmp_path)
    fields = {name: field.contents() for name, field in GGUFReader(path).fields.items()}
    own = PreTrainedTokenizerFast.from_pretrained(folder / "base")  # as it is, whatever its model is
    tokens = fields["tokenizer.ggml.tokens"]
    assert (fields["tokenizer.ggml.model"], fields["tokenizer.ggml.pre"]) == ("gpt2", kind)
    assert tokens[: len(own)] == own.convert_ids_to_tokens(range(len(own)))
    assert len(tokens) == len(fields["tokenizer.ggml.token_type"]) == 400
    kinds = dict(zip(tokens, fields["tokenizer.ggml.token_type"], strict=True))
    assert (kinds["<|im_end|>"], kinds["<think>"], kinds[tokens[50]], kinds[tokens[-1]]) == (3, 4, 1, 5)
    assert fields["tokenizer.ggml.eos_token_id"] == own.eos_token_id
    assert fields["tokenizer.ggml.add_bos_token"] is (kind == "llama-bpe")
    assert fields["tokenizer.chat_template"] == TEMPLATE
    merged = json.loads((folder / "base" / "tokenizer.json").read_text())["model"]["merges"]
    assert fields["tokenizer.ggml.merges"] == [" ".join(pair) for pair in merged]
    assert len(merged) > 10


def test_frequencies_of_llama_3_are_those_of_transformers(tmp_path: Path) -> None:
    folder = write_model("llama-bpe", tmp_path)
    path = written(gguf_file(folder / "base", folder / "adapter", "tiny.gguf"), tmp_path)
    slowed = next(one for one in GGUFReader(path).tensors if one.name == "rope_freqs.weight")
    model = AutoModelForCausalLM.from_pretrained(folder / "base")
    plain = 1.0 / 10000.0 ** (torch.arange(0, 8, 2, dtype=torch.float32) / 8)
    torch.testing.assert_close(plain / torch.tensor(slowed.data.copy()), model.model.rotary_emb.inv_freq)
    assert float(slowed.data.max()) == 8.0


@pytest.mark.parametrize("saved", [{}, {"max_shard_size": "20KB"}], ids=["whole", "sharded"])
def test_merged_archive_loads_alone_and_answers_as_the_adapter_does(
    tmp_path: Path, saved: dict[str, Any]
) -> None:
    folder = write_model("qwen2", tmp_path, **saved)
    (folder / "base" / "README.md").write_text("The card of the base model.")
    path = written(merged_archive(folder / "base", folder / "adapter", "tiny.tar"), tmp_path)
    with tarfile.open(path) as archive:
        archive.extractall(tmp_path / "merged", filter="data")
    names = {one.name for one in (tmp_path / "merged").iterdir()}
    assert names == {one.name for one in (folder / "base").iterdir()} - {"README.md"}
    assert ("model.safetensors.index.json" in names) is bool(saved)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    torch.testing.assert_close(logits(loaded), of_peft(folder), atol=1e-4, rtol=1e-4)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "merged")
    assert tokenizer.decode(tokenizer(CORPUS[0])["input_ids"]) == CORPUS[0]


def test_weights_keep_the_type_of_the_base_and_are_rounded_once(tmp_path: Path) -> None:
    folder = write_model("smollm", tmp_path, torch.bfloat16)
    path = written(merged_archive(folder / "base", folder / "adapter", "tiny.tar"), tmp_path)
    with tarfile.open(path) as archive:
        archive.extractall(tmp_path / "merged", filter="data")
    merged = load_file(tmp_path / "merged" / "model.safetensors")
    base = load_file(folder / "base" / "model.safetensors")
    adapter = load_file(folder / "adapter" / "adapter_model.safetensors")
    name = "model.layers.1.mlp.up_proj.weight"
    of = "base_model.model.model.layers.1.mlp.up_proj.lora_{}.weight"
    change = 2.0 * (adapter[of.format("B")].float() @ adapter[of.format("A")].float())
    torch.testing.assert_close(merged[name], (base[name].float() + change).to(torch.bfloat16), rtol=0, atol=0)
    untouched = "model.embed_tokens.weight"
    assert torch.equal(merged[untouched], base[untouched])
    as_gguf = GGUFReader(written(gguf_file(folder / "base", folder / "adapter", "tiny.gguf"), tmp_path))
    types = {one.name: one.tensor_type.name for one in as_gguf.tensors}
    assert (types["blk.1.ffn_up.weight"], types["blk.1.ffn_norm.weight"]) == ("BF16", "F32")


def _edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_what_is_not_known_to_be_right_is_refused_with_the_reason(tmp_path: Path) -> None:
    folder = write_model("smollm", tmp_path)
    config, tokens = folder / "base" / "config.json", folder / "base" / "tokenizer.json"
    originals = config.read_text(), tokens.read_text()
    cases: list[tuple[Path, dict[str, Any], str]] = [
        (config, {"architectures": ["GemmaForCausalLM"]}, "GemmaForCausalLM is not written"),
        (config, {"rope_parameters": {"rope_type": "yarn", "rope_theta": 1.0}}, "positions by yarn"),
        (config, {"use_sliding_window": True}, "sliding window"),
        (tokens, {"pre_tokenizer": {"type": "Whitespace"}}, "splits text in none of the ways"),
        (tokens, {"model": {"type": "WordLevel", "vocab": {}}}, "no byte-level BPE"),
    ]
    for path, change, reason in cases:
        _edit(path, **change)
        with pytest.raises(CannotExport, match=reason):
            gguf_file(folder / "base", folder / "adapter", "tiny.gguf")
        config.write_text(originals[0])
        tokens.write_text(originals[1])


def test_command_says_name_and_size_first_or_why_not(tmp_path: Path) -> None:
    folder = write_model("smollm", tmp_path)
    command = [sys.executable, "-m", "star_engine.gpu.export", "gguf", "--name", "mine"]
    command += ["--base", str(folder / "base"), "--adapter", str(folder / "adapter")]
    done = subprocess.run(command, capture_output=True, check=True)
    line, _, content = done.stdout.partition(b"\n")
    assert json.loads(line) == {"name": "mine.gguf", "size_bytes": len(content)}
    assert content.startswith(b"GGUF")
    (folder / "adapter" / "adapter_model.safetensors").write_bytes(b"cut")
    with pytest.raises(BadAdapter):
        gguf_file(folder / "base", folder / "adapter", "tiny.gguf")
    refused = subprocess.run(command, capture_output=True, check=False)
    assert refused.returncode == 1
    assert "damaged" in json.loads(refused.stdout)["refused"]
