"""A text that called a tool as messages: what its model did not write stands in turns that nobody trains on.

Trainers learn the turns of the assistant and mask all others, so an output becomes a turn of the role tool,
behind a call of the assistant as TRL and transformers write it, and a procedural hint one of the user.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from star_engine.sampling.tool_turns import FENCE, OUTPUT, called
from star_engine.tasks.programs.tool_use import Span
from star_engine.tasks.reading.final_part import final_part, thinking_in

TOOL = "python"
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": TOOL,
            "description": "Executes Python and returns what it prints.",
            "parameters": {
                "type": "object",
                "properties": {"code": {"type": "string"}},
                "required": ["code"],
            },
        },
    }
]
Turn = dict[str, Any]


def turns_of(text: str, masked: Sequence[Span], fence: str) -> list[Turn]:
    """The text in turns. `masked`: who has put what into it, in its characters; `fence` opens a call."""
    part = final_part(text)
    final = len(text) if part is None else part[0]
    turns: list[Turn] = []
    at = calls = 0
    for start, end, origin in _joined(masked):
        code = called(text[:start], fence) if origin == "output" else None
        own = start if code is None else max(at, start - len(f"```{fence}\n{code}{FENCE}"))
        said = _said(text, at, own, final)
        if code is not None:
            calls += 1
            function = {"name": TOOL, "arguments": {"code": code}}
            said = said or {"role": "assistant", "content": ""}
            said["tool_calls"] = [{"id": f"call_{calls}", "type": "function", "function": function}]
        turns += [said] if said else []
        turns.append(_foreign(text[start:end], origin, fence, calls))
        at = end
    last = _said(text, at, len(text), final)
    return [*turns, last] if last else turns


def _joined(masked: Sequence[Span]) -> list[Span]:
    """Spans of one origin that touch as one: the line feed that closes a call belongs to its output."""
    found: list[Span] = []
    for start, end, origin in masked:
        if found and found[-1][1:] == (start, origin):
            found[-1] = (found[-1][0], end, origin)
        else:
            found.append((start, end, origin))
    return found


def _said(text: str, start: int, end: int, final: int) -> Turn | None:
    """What the model says between two places; `final`: where in the text its thinking has ended."""
    border = min(max(start, final), end)
    thought, said = thinking_in(text[start:border]).strip(), text[border:end].strip()
    if not thought and not said:
        return None
    return {"role": "assistant", "content": said, **({"reasoning_content": thought} if thought else {})}


def _foreign(text: str, origin: str, fence: str, calls: int) -> Turn:
    if origin == "hint":
        hint = text.rstrip().removesuffix(f"```{fence}").strip()
        return {"role": "user", "name": "hint", "content": hint}
    shown = text.strip().removeprefix(OUTPUT.strip()).removesuffix(FENCE.strip()).strip("\n")
    return {"role": "tool", "tool_call_id": f"call_{calls}", "name": TOOL, "content": shown}
