"""The one of several texts that most of them agree with, or that a trained verifier finds best."""

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
