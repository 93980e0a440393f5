"""Turns of a text go on from the tokens that were sampled, and the same tokens are trained on."""

from __future__ import annotations

from collections import deque
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from star_engine.gpu.sampling_batch import Row
from star_engine.gpu.text_parts import parts_ids, request_ids, sampled_ids, text_ids
from star_engine.gpu.training.tokenized_rows import tokenize_rows
from star_engine.gpu.transformers_sampler import TransformersSampler
from star_engine.protocols import Completion, Part, SampleRequest, SamplingParams, TrainingText, parts_of
from tests.star_engine.gpu.tokenizers import word_tokenizer

PROMPT = "Q: How many apples are there?\nA:"
OUTPUT = "```output\n12 apples\n```\n"
END = 0


@pytest.fixture(scope="module")
def words() -> Any:
    return word_tokenizer()


def letters(tokenizer: Any, text: str) -> tuple[int, ...]:
    """Tokens that spell a text letter by letter, as no tokenizer would, and as a model may."""
    return tuple(number for letter in text for number in tokenizer(letter).input_ids)


def test_a_prompt_in_parts_is_its_head_and_each_part_by_itself(words: Any) -> None:
    said = " There are"
    odd = letters(words, said)
    parts = (Part(said, odd), Part(OUTPUT), Part(" apples"))
    [ids] = request_ids(words, [SampleRequest("a", PROMPT + said + OUTPUT + " apples", parts=parts)])
    one_by_one = [*words(PROMPT).input_ids, *odd, *words(OUTPUT).input_ids, *words(" apples").input_ids]
    assert ids == one_by_one
    assert ids != words(PROMPT + said + OUTPUT + " apples").input_ids
    assert words.decode(ids) == PROMPT + said + OUTPUT + " apples"


def test_tokens_are_told_only_where_a_tokenizer_makes_others(words: Any) -> None:
    before = words(PROMPT).input_ids
    own = words(" There are 12 apples.").input_ids
    assert sampled_ids(words, before, " There are 12 apples.", own) is None
    odd = letters(words, " There are")
    assert sampled_ids(words, before, " There are", odd) == odd
    assert sampled_ids(words, before, " There are", [*odd, END]) == odd  # without the end of the text
    beyond = [*letters(words, " There "), *words("apples").input_ids]
    cut = sampled_ids(words, before, " There app", beyond)  # a token that reaches beyond the stop
    assert cut == (*letters(words, " There "), *words("app").input_ids)


def test_a_part_that_is_cut_keeps_the_tokens_before_the_cut(words: Any) -> None:
    odd = letters(words, " There are")
    assert parts_ids(words, [], [Part(" There a", odd)]) == [list(odd[:-2])]


def test_a_tokenizer_that_adds_a_space_adds_none_inside_of_a_text() -> None:
    tokenizer = word_tokenizer(add_prefix_space=True)
    head = tokenizer(PROMPT).input_ids
    [ids] = parts_ids(tokenizer, head, [Part("apples")])
    assert tokenizer.decode([*head, *ids]) == f"{tokenizer.decode(head)}apples"


@pytest.mark.parametrize("turns", [((0, None), (6, None), (9, None)), ((-1, (7,)), (6, None)), ((6, None),)])
def test_parts_put_together_are_the_text(turns: Any) -> None:
    parts = parts_of("a text in parts", turns)
    assert "".join(part.text for part in parts) == "a text in parts"
    assert all(part.ids is None for part in parts)


def test_a_tool_that_prints_a_special_token_ends_nothing(words: Any) -> None:
    said, output = " There are", "```output\n<|end|>\n```\n"
    turns, at = ((0, None), (len(said), None), (len(said + output), None)), len(said)
    text = TrainingText(PROMPT, f"{said}{output}12 apples.", ((at, at + len(output)),), turns=turns)
    assert [part.plain for part in text.parts] == [False, True, False]
    [row] = tokenize_rows(words, [text], 400, END)
    assert row.ids.count(END) == 1
    assert words.decode(row.ids[:-1]) == text.prompt + text.completion
    [ids] = request_ids(words, [SampleRequest("a", text.prompt + text.completion, parts=text.parts)])
    assert list(row.ids[:-1]) == ids


def test_masked_parts_are_not_learned_and_their_neighbours_are(words: Any) -> None:
    said, more = " There are", "12 apples."
    completion = said + OUTPUT + more
    at = len(said)
    turns = ((0, letters(words, said)), (at, None), (at + len(OUTPUT), None))
    text = TrainingText(PROMPT, completion, ((at, at + len(OUTPUT)),), turns=turns)
    [row] = tokenize_rows(words, [text], 400, END)
    learned = [number for place, number in enumerate(row.ids[:-1]) if row.learns(place)]
    assert learned == [*letters(words, said), *words(more).input_ids]
    assert [list(row.ids[:-1])] == text_ids(words, [text])


class Watched(TransformersSampler):
    """Notes the tokens of each completion: those that were read, and those that were written."""

    seen: dict[str, tuple[list[int], list[int]]]

    def finished(self, row: Row) -> Completion | None:
        found = super().finished(row)
        if found is not None:
            self.seen[found.key] = (row.ids.tolist(), [n for n in row.generated if n != END])
        return found


@pytest.fixture(scope="module")
def sampler(words: Any, tmp_path_factory: pytest.TempPathFactory) -> Watched:
    """Random weights, which hardly ever write what the tokenizer would make of their text."""
    folder = tmp_path_factory.mktemp("words") / "tiny"
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(words),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        initializer_range=0.3,
        eos_token_id=END,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    words.save_pretrained(folder)
    found = Watched(folder, max_length=400)
    found.seen = {}
    return found


def test_what_is_trained_is_what_was_read_and_written(sampler: Watched, words: Any) -> None:
    params = SamplingParams(temperature=1.0, max_tokens=12, stop=("e",))
    turns: list[Any] = []
    odd = 0
    for number in range(8):
        text, turns = "", []
        for turn in range(3):
            request = SampleRequest(
                f"{number}/{turn}", PROMPT + text, number, parts=parts_of(text, turns), continued=True
            )
            [made] = sampler.stream(deque([request]), params)
            turns.append((len(text), made.ids))
            odd += made.ids is not None
            text += made.text + (made.stopped_by or "")
            if turn < 2:
                turns.append((len(text), None))
                text += OUTPUT
        read, written = sampler.seen[f"{number}/2"]
        whole = TrainingText(PROMPT, text, turns=tuple(turns))
        [row] = tokenize_rows(words, [whole], 400, END)
        kept = len(row.ids) - 1 - len(read)  # a token that reaches beyond the stop is told in others
        assert list(row.ids[: len(read)]) == read
        assert words.decode(row.ids[len(read) : -1]) == (made.text + (made.stopped_by or ""))
        assert abs(kept - len(written)) <= 4
    assert odd > 8
