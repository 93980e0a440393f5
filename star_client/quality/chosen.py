"""Texts that a server of models writes: the best one of several, or one that may call its tool."""

from __future__ import annotations

from typing import Literal

from star_client.objects import Fields

By = Literal["majority", "verifier"]


class Selection(Fields):
    """Why a text was chosen: `answer` and its `votes`, or the `verifier` with the `scores` of all texts."""

    by: By
    of: int
    answer: str | None = None
    votes: int | None = None
    verifier: str | None = None
    score: float | None = None
    scores: tuple[float | None, ...] = ()


class Message(Fields):
    content: str
    reasoning_content: str | None = None


class Chosen(Fields):
    """The text in place of `message.content`."""

    message: Message
    finish_reason: str
    selection: Selection


class Answered(Fields):
    choices: tuple[Chosen, ...]


class TextPart(Fields):
    """`origin`: model, or output: what the tool said."""

    origin: str
    text: str


class ToolUse(Fields):
    """The calls of a text. `limit`: it asked for one more than it had; `parts`: the text, by who said it."""

    calls: int
    failed: int
    limit: bool
    parts: tuple[TextPart, ...]


class ToolAnswer(Fields):
    """A text that could call its tool, in place of `message.content` as a whole and of `tools.parts`."""

    message: Message
    finish_reason: str
    tools: ToolUse


class ToolAnswers(Fields):
    choices: tuple[ToolAnswer, ...]
