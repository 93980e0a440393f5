"""What the OpenAI client reads of a text that was written."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel

from app.http.schemas import Item


class TokensOut(BaseModel):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class CompletionLogprobsOut(BaseModel):
    tokens: list[str]
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float] | None]
    text_offset: list[int]


class SelectionOut(BaseModel):
    """Why this text of several was chosen; there where `select` asked for it."""

    by: Literal["majority"]
    answer: str | None  # in normal form; None: no text states one
    votes: int  # texts that give it
    of: int


class CompletionChoiceOut(BaseModel):
    index: int
    text: str
    logprobs: CompletionLogprobsOut | None
    finish_reason: Literal["stop", "length"]
    selection: SelectionOut | None = None


class CompletionOut(Item):
    object: Literal["text_completion"] = "text_completion"
    created: int
    model: str
    choices: list[CompletionChoiceOut]
    usage: TokensOut


class MessageOut(BaseModel):
    role: Literal["assistant"]
    content: str
    refusal: None
    reasoning_content: str | None = None  # the thinking, without its marks; there where the model thought


class ChatChoiceOut(BaseModel):
    index: int
    message: MessageOut
    logprobs: dict[str, Any] | None
    finish_reason: Literal["stop", "length"]
    selection: SelectionOut | None = None


class ChatOut(Item):
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[ChatChoiceOut]
    usage: TokensOut
