"""The part of a completion that is meant for the reader: behind the thinking, before a next speaker's turn.

Thinking models write a draft first. What they consider there is no answer, however it is worded.
"""

from __future__ import annotations

import re

from star_engine.tasks.reading.cut import own_turn

Span = tuple[int, int]

_NAMES = ("think", "thinking", "thought", "thoughts", "reasoning", "reflection", "seed:think")
# Qwen and DeepSeek, GPT-style prompts, Magistral, Kimi, OpenThinker; in any case of letters.
OPENINGS = (*(f"<{name}>" for name in _NAMES), "[think]", "◁think▷", "<|begin_of_thought|>")
CLOSINGS = (*(f"</{name}>" for name in _NAMES), "[/think]", "◁/think▷", "<|end_of_thought|>")
_OPENING = re.compile("|".join(map(re.escape, OPENINGS)), re.IGNORECASE)
_CLOSING = re.compile("|".join(map(re.escape, CLOSINGS)), re.IGNORECASE)
_HARMONY_FINAL = re.compile(r"<\|channel\|>\s*final\b[^<]*<\|message\|>")
_HARMONY_ANALYSIS = re.compile(
    r"<\|channel\|>\s*analysis\b[^<]*<\|message\|>(.*?)(?:<\|(?:end|start|channel)\|>|\Z)", re.DOTALL
)
_HARMONY_END = re.compile(r"<\|(?:end|return|start|call|channel)\|>")
# gpt-oss where the tokenizer dropped the special tokens: "analysisWe need ...assistantfinalThe answer is 42."
BARE_HARMONY = re.compile(r"\s*analysis(?=[A-Z\"'(\d])")
BARE_HARMONY_FINAL = "assistantfinal"
# A chat token ends the turn; what follows it is another speaker, or the model playing one.
_TURN_END = re.compile(
    r"<\|(?:end|user|assistant|system|im_start|im_end|eot_id|eom_id|return|endoftext|end_of_text"
    r"|start_header_id)\|>|<(?:start|end)_of_turn>|\[/?INST\]|</s>|<eos>|<｜(?:User|Assistant|end▁of▁sentence)｜>"
)


def opened_thinking(prompt: str) -> str:
    """The thinking that the end of a prompt has begun for the model, such as "<think>\\n"; else nothing."""
    found = list(_OPENING.finditer(prompt))
    if not found or prompt[found[-1].end() :].strip():
        return ""
    return prompt[found[-1].start() :]


def final_part(text: str) -> Span | None:
    """The offsets of the final part; None where none began, as the thinking was never closed."""
    if "<|channel|>" in text:
        return _of_harmony(text)
    begin = own_turn(text)
    if text.startswith(BARE_HARMONY_FINAL, begin):
        begin += len(BARE_HARMONY_FINAL)
    elif BARE_HARMONY.match(text):
        found = text.rfind(BARE_HARMONY_FINAL)
        if found < 0:
            return None
        begin = found + len(BARE_HARMONY_FINAL)
    for closing in _CLOSING.finditer(text, begin):
        begin = closing.end()
    if _OPENING.search(text, begin):
        return None
    end = _TURN_END.search(text, begin)
    return begin, end.start() if end else len(text)


def thinking_in(before: str) -> str:
    """The thinking in what stands before a final part, without its marks."""
    if "<|channel|>" in before:
        return "\n".join(found.strip() for found in _HARMONY_ANALYSIS.findall(before))
    if bare := BARE_HARMONY.match(before):
        return before[bare.end() :].removesuffix(BARE_HARMONY_FINAL).strip("\n")
    return _CLOSING.sub("", _OPENING.sub("", before)).strip("\n")


def parted(text: str) -> tuple[str, str]:
    """The thinking without its marks, and what is said behind it: nothing where the thinking does not end."""
    part = final_part(text)
    if part is None:
        return thinking_in(text), ""
    begin, end = part
    before = text[:begin]
    if not (_CLOSING.search(before) or "<|channel|>" in before or BARE_HARMONY.match(before)):
        return "", text
    return thinking_in(before), text[begin : end if "<|channel|>" in text else None].lstrip("\n")


def _of_harmony(text: str) -> Span | None:
    finals = list(_HARMONY_FINAL.finditer(text))
    if not finals:
        return None
    begin = finals[-1].end()
    end = _HARMONY_END.search(text, begin)
    return begin, end.start() if end else len(text)
