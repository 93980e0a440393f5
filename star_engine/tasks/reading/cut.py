"""Where a completion ends. Verifiers and the training text are cut by the same function."""

from __future__ import annotations

import re
from collections.abc import Sequence

# A base model that has answered goes on with a next question, in the layout of its prompt or of what it was
# trained on. Some samplers also leave an end token, or the next speaker's, in the text; these are the markers
# of the Llama, GPT, Qwen, Gemma, Mistral and DeepSeek families. "<|end|>" is none of them: in gpt-oss it ends
# the thinking, and the answer follows.
BLOCK_STOPS: tuple[str, ...] = (
    "\nQ:",
    "\nInput:",
    "\nQuestion:",
    "\nProblem:",
    "\nExercise:",
    "\nHuman:",
    "\nUser:",
    "\nInstruction:",
    "\n### Instruction",
    "\n### Question",
)
TURN_STOPS: tuple[str, ...] = (
    "<|endoftext|>",
    "<|end_of_text|>",
    "<|im_end|>",
    "<|im_start|>",
    "<|eot_id|>",
    "<|start_header_id|>",
    "<|user|>",
    "<end_of_turn>",
    "<start_of_turn>",
    "<eos>",
    "</s>",
    "[INST]",
    "[/INST]",
    "<｜end▁of▁sentence｜>",
    "<｜User｜>",
)
DEFAULT_STOPS = (*BLOCK_STOPS, *TURN_STOPS)
# The header of the model's own turn, where a template or a model that plays one has written it.
_TURN_HEAD = re.compile(
    r"\s*(?:(?:<\|begin_of_text\|>|<s>|<bos>|<｜begin▁of▁sentence｜>)\s*)*(?:"
    r"<\|(?:im_start|start_header_id|start|header_start)\|>\s*assistant\b[ \t]*"
    r"(?:<\|(?:end_header_id|message|header_end)\|>)?"
    r"|<start_of_turn>\s*model\b|<\|assistant\|>|<｜Assistant｜>|\[/INST\]|assistant[ \t]*\n(?=\s*\S)"
    r")?\s*"
)
_SENTENCE_ENDED = r"[.!?。][\s*_)\"'”’]*\s\S"
_ENDED = re.compile(
    rf"[\s*_)\]\"'”’$]*(?:\}}|</|\n|{_SENTENCE_ENDED})|[^\n]*?(?:\n|{_SENTENCE_ENDED})",
)
_IN_BRACKETS = re.compile(r"\(\s*\w\s*\)")


def own_turn(text: str) -> int:
    """Where the model's own turn begins: behind the header that a model or a template has written to it."""
    head = _TURN_HEAD.match(text)
    return head.end() if head and head[0].strip() else 0


def cut_at_first_stop(text: str, stops: Sequence[str] = DEFAULT_STOPS) -> str:
    """The text before the earliest stop, without trailing white space. Leading white space stays.

    Offsets into the result are offsets into `text`. Raises ValueError for an empty stop, which would cut
    every text to nothing.
    """
    if "" in stops:
        raise ValueError("a stop must not be empty: it would cut every completion to nothing")
    begin = own_turn(text)
    found = [position for stop in stops if (position := text.find(stop, begin)) >= 0]
    return text[: min(found, default=len(text))].rstrip()


def answer_has_ended(text: str, span: tuple[int, int], *, closed: bool = False) -> bool:
    """Whether a text that the token limit cut goes on behind the sentence or line of its answer.

    "#### 7" at the limit may be the start of 72, and "The answer is 42 mi" of 42 million. `closed`: a kind
    whose answers are whole where a bracket closes them: "(b)".
    """
    if closed and _IN_BRACKETS.fullmatch(text, *span):
        return True
    return _ENDED.match(text, span[1]) is not None
