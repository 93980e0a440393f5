"""Tokenizers of base models whose files are on this machine: prompts are counted without a GPU."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from app.errors import Invalid
from app.tables.data import Model

if TYPE_CHECKING:
    from tokenizers import Tokenizer

TOKENIZER = "tokenizer.json"


def tokenizer_of(model: Model) -> Tokenizer | None:
    """The model's tokenizer; None where its files are on the workers only."""
    path = Path(model.location) / TOKENIZER
    return (
        load_tokenizer(path, model.files[TOKENIZER]) if TOKENIZER in model.files and path.is_file() else None
    )


def needed_tokenizer(model: Model) -> Tokenizer:
    """The model's tokenizer. Raises Invalid where its files are on the workers only."""
    found = tokenizer_of(model)
    if found is None:
        reason = f"The tokenizer of {model.id} is not on this machine."
        fix = "Leave the model out, or offer it from a folder that the API has."
        detail = f"{reason} Tokens cannot be counted."
        raise Invalid.for_field("model", reason, fix, code="no_tokenizer", detail=detail)
    return found


def count_tokens(tokenizer: Tokenizer, text: str) -> int:
    """Tokens of a text as a model is given it. BOS counts once where a chat template has written it."""
    ids = tokenizer.encode(text).ids
    added = tokenizer.encode("").ids[:1]
    return len(ids) - (ids[:2] == added * 2 and bool(added))


@lru_cache(maxsize=8)
def load_tokenizer(path: Path, sha256: str) -> Tokenizer:
    """A model's tokenizer.json without its truncation and padding. `sha256`: that of the file."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer
