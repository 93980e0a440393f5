"""Where the completion begins, and what a step's batch is."""

from __future__ import annotations

from itertools import chain, islice, pairwise
from typing import Any

import pytest

from star_engine.gpu.training.tokenized_rows import batch_of_step, batches, fitting_rows, tokenize_rows
from star_engine.protocols import Segment, TrainingText
from tests.star_engine.gpu.tokenizers import character_tokenizer, word_tokenizer

END = 0


@pytest.fixture(scope="module")
def words() -> Any:
    return word_tokenizer()


def parts(tokenizer: Any, prompt: str, completion: str) -> tuple[str, str]:
    """The texts of a row's prompt tokens and of its completion tokens."""
    [row] = tokenize_rows(tokenizer, [TrainingText(prompt, completion)], 200, END)
    assert row.ids[-1] == END
    return tokenizer.decode(row.ids[: row.start]), tokenizer.decode(row.ids[row.start : -1])


@pytest.mark.parametrize(
    ("prompt", "completion"),
    [
        ("Q: How many apples are there?\nA:", " There are 12 apples."),
        ("Q: How many apples?\nA: ", "The answer is 12."),  # the joint text has one token " The"
        ("Q: ap", "ples"),  # ... and "apples"
        ("Q: 1", "2 apples."),
        ("naïve 東", "京 🙂"),
        ("A:\n", "\nThere"),
    ],
)
def test_loss_begins_exactly_where_the_completion_does(words: Any, prompt: str, completion: str) -> None:
    assert parts(words, prompt, completion) == (prompt, completion)


@pytest.mark.parametrize("prompt", ["Q: How many apples?\nA:", "Q: How many apples?\nA: ", "Q: ap", "A:\n"])
def test_the_trained_prompt_is_the_tokens_that_the_sampler_is_given(words: Any, prompt: str) -> None:
    [row] = tokenize_rows(words, [TrainingText(prompt, "\nThere are apples.")], 200, END)
    assert list(row.ids[: row.start]) == words(prompt).input_ids


def test_the_tokens_are_the_same_wherever_loss_falls(words: Any) -> None:
    texts = [TrainingText("Q: How many apples?\nA: ", "The answer is 12."), TrainingText("Q: ap", "ples")]
    on_completion = tokenize_rows(words, texts, 200, END)
    on_all = tokenize_rows(words, texts, 200, END, "all")
    assert [row.ids for row in on_all] == [row.ids for row in on_completion]
    assert [row.loss_tokens for row in on_all] == [len(row.ids) - 1 for row in on_completion]


def test_a_token_at_the_boundary_stays_whole_where_both_texts_agree_on_it(words: Any) -> None:
    [row] = tokenize_rows(words, [TrainingText("Q: apples? A:", " There are 12.")], 200, END)
    joint = words("Q: apples? A: There are 12.").input_ids
    assert list(row.ids[:-1]) == joint


def test_a_straddling_token_that_cannot_be_resolved_is_an_error_naming_the_row() -> None:
    stripping = word_tokenizer(
        add_prefix_space=True
    )  # puts a space before every text, as sentencepiece models do
    rows = [TrainingText("Q: apples? A:", " There are 12."), TrainingText("Q: ap", "ples")]
    with pytest.raises(ValueError, match=r"Training row 1: a token straddles the end of the prompt"):
        tokenize_rows(stripping, rows, 200, END)


def test_a_tokenizer_that_adds_bos_and_eos_gets_one_of_each() -> None:
    tokenizer = word_tokenizer(add_bos_and_eos=True)
    [row] = tokenize_rows(tokenizer, [TrainingText("Q: apples? A:", " There are 12.")], 200, END)
    assert row.ids.count(tokenizer.bos_token_id) == 1
    assert row.ids.count(END) == 1
    assert row.ids[0] == tokenizer.bos_token_id
    assert tokenizer.decode(row.ids[1 : row.start]) == "Q: apples? A:"


def learned_tokens(tokenizer: Any, *segments: str | Segment, prompt: str = "Q: apples? A:") -> list[str]:
    """The tokens of the completion that loss falls on, each as text, without the EOS."""
    pieces = [Segment(piece) if isinstance(piece, str) else piece for piece in segments]
    text = TrainingText.of_segments(prompt, pieces)
    [row] = tokenize_rows(tokenizer, [text], 200, END)
    [plain] = tokenize_rows(tokenizer, [TrainingText(prompt, text.completion)], 200, END)
    assert (row.ids, row.start) == (plain.ids, plain.start), "masks change no token"
    assert row.learns(len(row.ids) - 1), "the EOS is learned"
    learned = [at for at in range(len(row.ids) - 1) if row.learns(at)]
    assert len(learned) + 1 == row.loss_tokens
    return [tokenizer.decode(row.ids[at]) for at in learned]


def foreign(text: str) -> Segment:
    return Segment(text, learned=False)


def test_masked_text_is_not_learned_and_all_else_is(words: Any) -> None:
    assert learned_tokens(words, " There are", foreign(" 12"), " apples.") == [
        " There",
        " are",
        " apples",
        ".",
    ]
    assert learned_tokens(words, foreign(" There"), " are", foreign(" 12")) == [" are"]


def test_a_token_that_is_partly_masked_is_masked(words: Any) -> None:
    """ " apples" is one token of the whole text, wherever a segment ends in it."""
    assert learned_tokens(words, " There app", foreign("les"), ".") == [" There", "."]
    assert learned_tokens(words, " There", foreign(" app"), "les.") == [" There", "."]
    assert learned_tokens(words, " There", foreign(" "), "apples.") == [" There", "."]


def test_all_tokens_of_a_masked_character_are_masked(words: Any) -> None:
    assert len(words("京").input_ids) > 1
    assert learned_tokens(words, " There", foreign("京"), ".") == [" There", "."]


def test_a_token_begins_behind_the_one_before_it_where_offsets_leave_spaces_out() -> None:
    trimming = word_tokenizer(trim_offsets=True)
    assert trimming(" are apples", return_offsets_mapping=True).offset_mapping[1] == (5, 11)
    assert learned_tokens(trimming, " There", foreign(" "), "apples.") == [" There", "."]


def test_a_completion_that_is_tokenized_alone_is_masked_at_the_same_text(words: Any) -> None:
    assert learned_tokens(words, "ples", foreign(" 12"), ".", prompt="Q: ap")[-1:] == ["."]
    assert " 12" not in "".join(learned_tokens(words, "ples", foreign(" 12"), ".", prompt="Q: ap"))


@pytest.mark.parametrize("segments", [(foreign(" There"),), (" ", foreign("There"))])
def test_a_row_without_a_learned_token_is_an_error_naming_the_row(words: Any, segments: Any) -> None:
    pieces = [Segment(piece) if isinstance(piece, str) else piece for piece in segments]
    rows = [TrainingText("Q:", " 12"), TrainingText.of_segments("Q: apples? A:", pieces)]
    with pytest.raises(ValueError, match="Training row 1 has no token that is learned"):
        tokenize_rows(words, rows, 200, END)


def test_rows_that_are_too_long_are_named_or_left_out_unless_all_are() -> None:
    rows = [TrainingText("12", "34"), TrainingText("1" * 30, "2" * 9)]
    tokenizer = character_tokenizer()
    assert [len(row.ids) for row in tokenize_rows(tokenizer, rows, 40, END)] == [5, 40]
    with pytest.raises(ValueError, match=r"Training row 1 has 40 tokens \(30 of the prompt, 10 of the"):
        tokenize_rows(tokenizer, rows, 39, END)
    assert [len(row.ids) for row in fitting_rows(tokenizer, rows, 39, END)] == [5]
    with pytest.raises(ValueError, match=r"All 2 training rows have more tokens, 5 or more, than .* = 4"):
        fitting_rows(tokenizer, rows, 4, END)


@pytest.mark.parametrize("row", [TrainingText("", "1"), TrainingText("1", "")])
def test_an_empty_prompt_or_completion_is_an_error_naming_the_row(row: TrainingText) -> None:
    with pytest.raises(ValueError, match="Training row 1 has an empty prompt or completion"):
        tokenize_rows(character_tokenizer(), [TrainingText("1", "2"), row], 40, END)


def test_an_empty_training_set_is_an_error() -> None:
    with pytest.raises(ValueError, match="training set is empty"):
        tokenize_rows(character_tokenizer(), [], 40, END)


def test_every_epoch_sees_every_row_once_in_another_order() -> None:
    steps = [batch_of_step(10, 4, seed=7, step=step) for step in range(5)]  # 20 places: two epochs
    places = list(chain.from_iterable(steps))
    assert sorted(places[:10]) == sorted(places[10:]) == list(range(10))
    assert places[:10] != places[10:]
    assert steps == [batch_of_step(10, 4, seed=7, step=step) for step in range(5)]
    assert places != list(chain.from_iterable(batch_of_step(10, 4, seed=8, step=step) for step in range(5)))


def test_a_batch_larger_than_the_training_set_goes_on_into_the_next_epoch() -> None:
    batch = batch_of_step(3, 7, seed=0, step=0)
    assert sorted(batch[:3]) == sorted(batch[3:6]) == [0, 1, 2]


def test_a_batch_of_tokens_holds_as_many_rows_as_fit_and_one_at_least() -> None:
    lengths = [10, 30, 20, 100, 5, 5]
    drawn = list(islice(batches(lengths, 8, 40, seed=3), 40))
    sizes = [sum(lengths[row] for row in batch) for batch in drawn]
    assert all(size <= 40 or len(batch) == 1 for size, batch in zip(sizes, drawn, strict=True))
    together = [row for batch in drawn for row in batch]
    epochs = [sorted(together[n : n + 6]) for n in range(0, len(together) - 6, 6)]
    assert epochs == [[0, 1, 2, 3, 4, 5]] * len(epochs)  # every row once before any comes again
    for batch, following in pairwise(drawn):  # the next row would not have fitted
        assert sum(lengths[row] for row in (*batch, following[0])) > 40
    assert list(islice(batches(lengths, 8, 40, seed=3, first=17), 5)) == drawn[17:22]
    assert next(batches(lengths, 4, None, seed=3, first=2)) == batch_of_step(6, 4, 3, 2)
