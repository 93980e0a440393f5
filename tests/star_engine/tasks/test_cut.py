"""Where a completion ends: the same cut for the verdict and for the training text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from star_engine.tasks.reading.cut import DEFAULT_STOPS, cut_at_first_stop, own_turn
from star_engine.training_set.judgement import judge_row

TEXTS = st.lists(st.sampled_from([*DEFAULT_STOPS, "a", " ", "\n", "Q:", "72", "\t"]), max_size=12).map(
    "".join
)


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        (" so #### 72\n\nQ: Next?\nA: 3", " so #### 72"),
        (" so #### 72\nQ: Next?", " so #### 72"),
        ("\n<scratch>\n</scratch>\n8 8 3\n\nInput:\n1 + 1", "\n<scratch>\n</scratch>\n8 8 3"),
        ("72<|endoftext|>73", "72"),
        ("72</s>", "72"),
        ("72 <|im_end|>\n<|im_start|>user", "72"),
        ("first\nInput: x\nQ: y", "first"),
        ("  both sides  \n", "  both sides"),
        ("the FAQ: stays", "the FAQ: stays"),
        ("Q: at the start is no new block", "Q: at the start is no new block"),
        ("", ""),
        ("\nQ:", ""),
    ],
)
def test_a_completion_is_cut_before_the_first_stop(text: str, cut: str) -> None:
    assert cut_at_first_stop(text) == cut


def test_only_the_given_stops_cut() -> None:
    assert cut_at_first_stop("a\nQ: b STOP c", ["STOP"]) == "a\nQ: b"
    assert cut_at_first_stop("a\nQ: b ", []) == "a\nQ: b"


def test_an_empty_stop_is_refused() -> None:
    with pytest.raises(ValueError, match="empty"):
        cut_at_first_stop("text", ["\nQ:", ""])


@given(TEXTS)
def test_the_cut_is_a_prefix_without_stop_or_trailing_space_and_cutting_twice_changes_nothing(
    text: str,
) -> None:
    cut = cut_at_first_stop(text)
    assert text.startswith(cut)
    assert cut == cut.rstrip()
    assert not any(stop in cut[own_turn(cut) :] for stop in DEFAULT_STOPS)
    assert cut_at_first_stop(cut) == cut
    dropped = text[len(cut) :].lstrip("\n \t")
    assert not dropped or any(stop.lstrip() in dropped for stop in DEFAULT_STOPS)


@pytest.mark.parametrize(
    "head",
    [
        "<|im_start|>assistant\n",
        "<|start_header_id|>assistant<|end_header_id|>\n\n",
        "<start_of_turn>model\n",
        "assistant\n",
    ],
)
def test_the_header_of_the_models_own_turn_is_no_stop_and_is_not_trained_on(head: str) -> None:
    row = {
        "kind": "numeric",
        "completion": f"{head}They planted 21 - 15 = 6 trees.\n#### 6<|im_end|>",
        "answer": "6",
    }
    found = judge_row(row)
    assert (found.verdict, found.trained_on) == ("correct", " They planted 21 - 15 = 6 trees.\n#### 6")
    assert found.span is not None
    assert row["completion"][slice(*found.span)] == "6"
