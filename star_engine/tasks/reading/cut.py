"""Where a completion ends. Verifiers and the training text are cut by the same function."""

from __future__ import annotations

from collections.abc import Sequence

# A base model that has answered goes on with a next question, in the layout of its prompt. Some samplers
# also leave the end-of-sequence token in the text; these are the markers of the Llama, GPT, Qwen, Gemma
# and Mistral families.
DEFAULT_STOPS: tuple[str, ...] = (
    "\nQ:",
    "\nInput:",
    "<|endoftext|>",
    "<|end_of_text|>",
    "<|im_end|>",
    "<|eot_id|>",
    "<end_of_turn>",
    "<eos>",
    "</s>",
)


def cut_at_first_stop(text: str, stops: Sequence[str] = DEFAULT_STOPS) -> str:
    """The text before the earliest stop, without trailing white space. Leading white space stays.

    Offsets into the result are offsets into `text`. Raises ValueError for an empty stop, which would cut
    every text to nothing.
    """
    if "" in stops:
        raise ValueError("a stop must not be empty: it would cut every completion to nothing")
    found = [position for stop in stops if (position := text.find(stop)) >= 0]
    return text[: min(found, default=len(text))].rstrip()
