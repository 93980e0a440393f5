"""A tokenizer.json as llama.cpp reads it from a GGUF: byte-level BPE whose way of splitting it knows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from star_engine.data.chat_template import TEMPLATE_FILE
from star_engine.gpu.export.parts import CannotExport

NORMAL, CONTROL, USER_DEFINED, UNUSED = 1, 3, 4, 5  # gguf.TokenType
_LETTERS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
# llama.cpp splits text by regular expressions of its own, which a GGUF names and does not hold: a tokenizer
# that splits in another way would have no error but other tokens.
_SPLITS: dict[tuple[Any, ...], str] = {
    (("Split", _LETTERS + r"|\p{N}{1,3}" + _REST), ("ByteLevel", False), True): "llama-bpe",
    (("Split", _LETTERS + r"|\p{N}" + _REST), ("ByteLevel", False), False): "qwen2",
    (("Digits", True), ("ByteLevel", True), False): "smollm",
    (("ByteLevel", True), False): "gpt-2",
}
_NAMED = ("bos", "eos", "unk", "pad")


@dataclass(frozen=True, slots=True)
class GgufTokenizer:
    pre: str  # how text is split, by llama.cpp's name for it
    tokens: list[str]
    types: list[int]
    merges: list[str]
    special: dict[str, int]  # bos, eos, unk, pad: their ids, of those that there are
    adds_bos: bool
    chat_template: str | None


def read_tokenizer(folder: Path, vocab_size: int) -> GgufTokenizer:
    """vocab_size: rows of the embedding, some of which may have no token. Raises CannotExport."""
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise CannotExport("The base model has no tokenizer.json, from which a GGUF takes its tokens.")
    written = json.loads(path.read_text(encoding="utf-8"))
    model = written["model"]
    if model.get("type") != "BPE" or model.get("byte_fallback"):
        raise CannotExport(
            f"The tokenizer is no byte-level BPE ({model.get('type')}"
            f"{', with byte fallback' if model.get('byte_fallback') else ''}), and no other kind is written "
            "as GGUF here: take the merged weights, and convert them with llama.cpp."
        )
    added = {one["id"]: one for one in written.get("added_tokens") or ()}
    tokens, types = _tokens(model["vocab"], added, vocab_size)
    config = _json(folder / "tokenizer_config.json")
    numbers = {token: number for number, token in enumerate(tokens)}
    special = {name: numbers[text] for name in _NAMED if (text := _special(config, name)) in numbers}
    first = Tokenizer.from_file(str(path)).encode("").ids[:1]
    return GgufTokenizer(
        pre=_pre(written),
        tokens=tokens,
        types=types,
        merges=[one if isinstance(one, str) else " ".join(one) for one in model["merges"]],
        special=special,
        adds_bos=bool(first) and first[0] == special.get("bos"),
        chat_template=_template(folder, config),
    )


def _pre(written: Mapping[str, Any]) -> str:
    found = written.get("pre_tokenizer") or {}
    steps = found.get("pretokenizers", []) if found.get("type") == "Sequence" else [found]
    known = (*map(_step, steps), bool(written["model"].get("ignore_merges")))
    if (name := _SPLITS.get(known)) is None:
        raise CannotExport(
            "The tokenizer splits text in none of the ways that are known to be llama.cpp's (Llama 3's, "
            "Qwen 2's, SmolLM's, GPT-2's): take the merged weights, and convert them with llama.cpp."
        )
    return name


def _step(step: Mapping[str, Any]) -> tuple[Any, ...]:
    kind = step.get("type")
    if kind == "Split" and step.get("behavior") == "Isolated" and not step.get("invert"):
        return "Split", (step.get("pattern") or {}).get("Regex")
    if kind == "ByteLevel" and not step.get("add_prefix_space"):
        return "ByteLevel", step.get("use_regex", True)
    return str(kind), step.get("individual_digits")


def _tokens(
    vocab: Mapping[str, int], added: Mapping[int, Mapping[str, Any]], size: int
) -> tuple[list[str], list[int]]:
    by_id = {number: token for token, number in vocab.items()}
    by_id |= {number: str(one["content"]) for number, one in added.items()}
    if max(by_id) >= size:
        raise CannotExport(f"The tokenizer has the token {max(by_id)}, and the model {size} embeddings.")
    tokens, types = [], []
    for number in range(size):
        token = by_id.get(number, f"[PAD{number}]")
        if number not in by_id:
            kind = UNUSED
        elif number not in added:
            kind = NORMAL
        else:
            control = added[number].get("special") or (token.startswith("<|") and token.endswith("|>"))
            kind = CONTROL if control else USER_DEFINED
        tokens.append(token)
        types.append(kind)
    return tokens, types


def _special(config: Mapping[str, Any], name: str) -> str | None:
    found = config.get(f"{name}_token")
    text = found.get("content") if isinstance(found, dict) else found
    return text if isinstance(text, str) else None


def _template(folder: Path, config: Mapping[str, Any]) -> str | None:
    if (folder / TEMPLATE_FILE).is_file():
        return (folder / TEMPLATE_FILE).read_text(encoding="utf-8")
    found = config.get("chat_template")
    return found if isinstance(found, str) else None


def _json(path: Path) -> dict[str, Any]:
    found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return found if isinstance(found, dict) else {}
