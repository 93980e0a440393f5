"""Tokens of texts in parts: a model goes on from what it has sampled, and the same is learned.

A text with a tool's outputs in it is no text that a tokenizer makes tokens of at one go: a token could reach
from what the model has written into what the tool has said, and neither of them wrote it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

from star_engine.gpu.causal_lm import prompt_ids, text_after
from star_engine.protocols import Part, SampleRequest, TrainingText


def request_ids(tokenizer: Any, requests: Sequence[SampleRequest]) -> list[list[int]]:
    """Tokens of each request's prompt, its parts each by itself."""
    heads = [one.prompt[: len(one.prompt) - sum(len(part.text) for part in one.parts)] for one in requests]
    encoded = prompt_ids(tokenizer, heads)
    return [_behind(tokenizer, head, one.parts) for head, one in zip(encoded, requests, strict=True)]


def text_ids(tokenizer: Any, texts: Sequence[str | TrainingText]) -> list[list[int]]:
    """Tokens of each text as a sampler continues it; of one in parts those of its prompt and of the parts."""
    whole = [one if isinstance(one, str) else one.prompt + one.completion for one in texts]
    found = prompt_ids(tokenizer, whole)
    for number, one in enumerate(texts):
        if isinstance(one, TrainingText) and one.parts:
            [head] = prompt_ids(tokenizer, [one.prompt])
            found[number] = _behind(tokenizer, head, one.parts)
    return found


def _behind(tokenizer: Any, head: list[int], parts: Sequence[Part]) -> list[int]:
    return list(chain(head, *parts_ids(tokenizer, head, parts)))


def parts_ids(tokenizer: Any, before: Sequence[int], parts: Sequence[Part]) -> list[list[int]]:
    """Tokens of each part behind these tokens and one another."""
    found: list[list[int]] = []
    context = list(before[-_CONTEXT:])
    for part in parts:
        found.append(_part_ids(tokenizer, context, part))
        context = [*context, *found[-1]][-_CONTEXT:]
    return found


def sampled_ids(
    tokenizer: Any, before: Sequence[int], text: str, generated: Sequence[int]
) -> tuple[int, ...] | None:
    """The tokens of a text that was generated so, without those that go beyond it; None where the tokenizer
    makes the same of it. See Completion.
    """
    context = list(before[-_CONTEXT:])
    found = _part_ids(tokenizer, context, Part(text, tuple(generated)))
    return None if found == _ids_behind(tokenizer, context, text) else tuple(found)


_CONTEXT = 4  # tokens before a text that decide how its own are spelled


def _part_ids(tokenizer: Any, context: Sequence[int], part: Part) -> list[int]:
    if part.ids is None:
        return _ids_behind(tokenizer, context, part.text, plain=part.plain)
    kept = list(part.ids)
    while not part.text.startswith(said := text_after(tokenizer, context, kept, special=True)):
        kept.pop()
    rest = part.text[len(said) :]
    return [*kept, *(_ids_behind(tokenizer, [*context, *kept], rest) if rest else ())]


def _ids_behind(tokenizer: Any, context: Sequence[int], text: str, *, plain: bool = False) -> list[int]:
    """What the tokenizer makes of a text by itself. Where that would spell another text, since some put a
    space before all that they are given: what it makes of it behind a line feed, without this.
    """
    how = {"add_special_tokens": False, "split_special_tokens": plain}
    alone: list[int] = tokenizer(text, **how)["input_ids"]
    if text_after(tokenizer, context, alone, special=True) == text:
        return alone
    behind = tokenizer(f"\n{text}", return_offsets_mapping=True, **how)
    places = [at for at, (start, end) in enumerate(behind["offset_mapping"]) if start >= 1 and end > start]
    found: list[int] = behind["input_ids"][places[0] :] if places else []
    return found if text_after(tokenizer, context, found, special=True) == text else alone
