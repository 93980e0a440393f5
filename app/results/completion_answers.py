"""What the OpenAI client reads of a text that was written."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

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


class MajorityOut(BaseModel):
    """This text gives the answer that most of them give."""

    by: Literal["majority"]
    answer: str | None  # in normal form; None: no text states one
    votes: int  # texts that give it
    of: int


class BestScoredOut(BaseModel):
    """This text is the one that a verifier scores highest, of equal ones the first."""

    by: Literal["verifier"]
    verifier: str  # id of its adapter
    score: float | None  # None: the verifier could read none, and the first text is taken
    # Of all texts, as they were sampled; None: a text is empty or too long for it. The log-probability of the
    # text and its end; of a verifier with the method yes_no that of yes minus that of no.
    scores: list[float | None]
    of: int


# Why this text of several was chosen; there where `select` asked for it.
SelectionOut = Annotated[MajorityOut | BestScoredOut, Field(discriminator="by")]


class TextPartOut(BaseModel):
    origin: Literal["model", "output"]  # output: what the tool said
    text: str


class ToolsOut(BaseModel):
    """How a text called its tool; there where `with_tools` asked for it."""

    calls: int
    failed: int  # of the calls
    limit: bool  # it asked for one call more than it had, and ended there
    parts: list[TextPartOut]  # together they are the text, as the model goes on from it


class CompletionChoiceOut(BaseModel):
    index: int
    text: str
    logprobs: CompletionLogprobsOut | None
    finish_reason: Literal["stop", "length"]
    selection: SelectionOut | None = None
    tools: ToolsOut | None = None


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
    tools: ToolsOut | None = None


class ChatOut(Item):
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[ChatChoiceOut]
    usage: TokensOut
