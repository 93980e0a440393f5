"""Windows of tokens as one tensor: four bytes a token, where lists of Python take nine times as many."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from star_engine.data.documents import each_document, windows
from star_engine.gpu.causal_lm import prompt_ids

AT_ONCE = 256  # documents that are tokenized together


def packed(found: Iterable[Sequence[int]] | torch.Tensor, length: int) -> torch.Tensor:
    """Windows as int32 of shape (windows, length)."""
    if isinstance(found, torch.Tensor):
        return found
    tokens = array("i")
    for window in found:
        tokens.extend(window)
    flat = torch.frombuffer(tokens, dtype=torch.int32) if tokens else torch.empty(0, dtype=torch.int32)
    return flat.view(-1, length)


def windows_of(documents: Path, tokenizer: Any, separator: int, length: int) -> Iterator[list[int]]:
    """Windows of the documents of a JSONL file, which is read and tokenized as they are asked for."""

    def tokenized() -> Iterator[list[int]]:
        texts = each_document(documents)
        while some := list(islice(texts, AT_ONCE)):
            yield from prompt_ids(tokenizer, some)

    return windows(tokenized(), length, separator)
