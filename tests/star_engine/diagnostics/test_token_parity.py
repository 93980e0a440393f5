"""What sampler and trainer must tokenize alike, and what is said where they do not."""

import pytest

from star_engine.config.star import StarConfig
from star_engine.diagnostics.token_parity import TokenMismatch, check_parity, parity_texts, token_digests
from star_engine.tasks.kind import Kind
from tests.star_engine.addition import ADDITION, additions

CONFIG = StarConfig(kind=Kind.SCRATCHPAD)
EXAMPLES = additions((1, 2), each=20)


def test_prompts_training_prompts_and_whole_few_shot_texts_are_compared() -> None:
    texts = parity_texts(CONFIG, ADDITION, EXAMPLES)
    assert len(texts) == len(set(texts)) == 8 + 8 + 8
    assert sum(text.endswith("Target:") for text in texts) == 16
    assert sum("</scratch>" in text and text.count("Input:") == 1 for text in texts) == 8


def test_the_first_text_that_differs_is_named_and_a_missing_one_is_no_match() -> None:
    texts = ["1 + 1", "2 + 2"]
    same = token_digests([[1, 2], [3]])
    check_parity(texts, same, token_digests([[1, 2], [3]]))
    with pytest.raises(TokenMismatch, match=r"ending in '2 \+ 2'"):
        check_parity(texts, same, token_digests([[1, 2], [3, 4]]))
    with pytest.raises(TokenMismatch, match="2 texts and the trainer 1"):
        check_parity(texts, same, same[:1])
    assert token_digests([[1, 23]]) != token_digests([[12, 3]])
