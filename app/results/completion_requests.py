"""What the OpenAI client sends to have a text written, as far as it is answered here."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, Strict, StrictBool, StrictInt, StrictStr

from app.errors import Invalid
from app.http.schemas import Text
from star_engine.config.star import MAX_TOKENS

MAX_TEXTS = 128  # of one request: its prompts times n
Number = Annotated[float, Strict(), Field(allow_inf_nan=False)]
Tokens = Annotated[tuple[Annotated[StrictInt, Field(ge=0)], ...], Field(min_length=1)]
Stop = Annotated[Text, Field(min_length=1, max_length=200)]


class StreamOptions(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    include_usage: StrictBool = False


class Asked(BaseModel):
    """What both kinds of request share. Settings that change what is sampled in ways that are not known here
    are refused: a text that ignored them would look as if it had obeyed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: Annotated[
        Text,
        Field(min_length=1, max_length=250, description="A base model, `adp_...` or `job_...:best`."),
    ]
    temperature: Annotated[Number | None, Field(ge=0, le=2, description="Left out: 1; 0 is greedy.")] = None
    top_p: Annotated[Number | None, Field(gt=0, le=1)] = None
    top_k: Annotated[StrictInt | None, Field(ge=0, description="0: all tokens.")] = None
    n: Annotated[StrictInt | None, Field(ge=1, le=MAX_TEXTS, description="Texts per prompt.")] = None
    seed: Annotated[StrictInt | None, Field(ge=-(2**63), lt=2**63)] = None
    stop: Annotated[Stop, Field()] | Annotated[tuple[Stop, ...], Field(max_length=32)] | None = None
    stream: StrictBool | None = None
    stream_options: StreamOptions | None = None
    user: Annotated[Text | None, Field(max_length=1000, description="Not looked at.")] = None
    presence_penalty: Annotated[Number | None, Field(description="0 alone is known here.")] = None
    frequency_penalty: Annotated[Number | None, Field(description="0 alone is known here.")] = None
    logit_bias: Annotated[dict[str, Number] | None, Field(description="Empty alone is known here.")] = None
    select: Annotated[
        Literal["majority", "verifier"] | None,
        Field(
            description="Not OpenAI's: of the `n` texts the one whose answer most of them give, as the "
            "adapter's job reads answers, or the one that a trained verifier scores highest. `selection` of "
            "the choice tells the votes or the scores."
        ),
    ] = None
    verifier: Annotated[
        Text | None,
        Field(
            pattern=r"^adp_[0-9A-Za-z]+$",
            max_length=250,
            description="Not OpenAI's: who scores for `select: verifier`, `adp_...` of the same base model. "
            "Left out: the newest verifier of the adapter's job.",
        ),
    ] = None

    with_tools: Annotated[
        StrictBool | None,
        Field(
            description="Not OpenAI's: the text may call the tool that the adapter's job gave its model "
            "(`tools.python`), as often and within the limits that it set. `max_tokens` counts what the tool "
            "says. `tools` of the choice tells the calls and the text in its parts; of a stream, `origin` of "
            "each piece says whether the model wrote it or the tool."
        ),
    ] = None

    @property
    def stops(self) -> tuple[str, ...]:
        return (self.stop,) if isinstance(self.stop, str) else self.stop or ()


class CompletionIn(Asked):
    """A prompt as text or as tokens, or several of them."""

    prompt: (
        Text
        | Tokens
        | Annotated[tuple[Text, ...], Field(min_length=1, max_length=MAX_TEXTS)]
        | Annotated[tuple[Tokens, ...], Field(min_length=1, max_length=MAX_TEXTS)]
    )
    max_tokens: Annotated[StrictInt | None, Field(ge=0, le=MAX_TOKENS, description="Left out: 16.")] = None
    logprobs: Annotated[StrictInt | None, Field(ge=0, le=20, description="Likeliest tokens to show.")] = None
    echo: Annotated[StrictBool | None, Field(description="The prompt is part of the text.")] = None
    best_of: Annotated[StrictInt | None, Field(description="`n` alone is known here.")] = None
    suffix: Annotated[None, Field(description="Not known here.")] = None

    @property
    def prompts(self) -> tuple[str | tuple[int, ...], ...]:
        if isinstance(self.prompt, str):
            return (self.prompt,)
        if isinstance(self.prompt[0], int):
            return (self.prompt,)
        return self.prompt


class TextPart(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    type: Literal["text"]
    text: Text


class Message(BaseModel):
    """One turn of a conversation: text alone."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    role: Literal["system", "developer", "user", "assistant"]
    content: Text | Annotated[tuple[TextPart, ...], Field(min_length=1)]
    name: Annotated[Text | None, Field(max_length=200)] = None

    def as_json(self) -> dict[str, Any]:
        """Return the message as a chat template reads it."""
        parts = self.content
        text = parts if isinstance(parts, str) else "".join(part.text for part in parts)
        return {"role": "system" if self.role == "developer" else self.role, "content": text}


class ResponseFormat(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    type: Literal["text"]


class ChatIn(Asked):
    """A conversation, rendered by the model's own chat template; with an adapter and without a system message
    as the adapter's job asked its questions."""

    messages: Annotated[tuple[Message, ...], Field(min_length=1, max_length=1000)]
    max_tokens: Annotated[StrictInt | None, Field(ge=1, le=MAX_TOKENS, deprecated=True)] = None
    max_completion_tokens: Annotated[
        StrictInt | None, Field(ge=1, le=MAX_TOKENS, description="Left out: what the context has room for.")
    ] = None
    logprobs: StrictBool | None = None
    top_logprobs: Annotated[StrictInt | None, Field(ge=0, le=20)] = None
    response_format: ResponseFormat | None = None
    store: Annotated[StrictBool | None, Field(description="Nothing is stored.")] = None
    metadata: Annotated[dict[StrictStr, StrictStr] | None, Field(description="Not looked at.")] = None

    @property
    def has_system(self) -> bool:
        return any(message.role in ("system", "developer") for message in self.messages)


def check_known(sent: Asked) -> None:
    """Raises Invalid for what cannot be obeyed."""
    for name in ("presence_penalty", "frequency_penalty", "logit_bias"):
        if getattr(sent, name):
            raise Invalid.for_field(name, f"{name} is not known here.", "Leave it out.")
    if sent.select is not None:
        _check_select(sent)
    if sent.verifier is not None and sent.select != "verifier":
        raise Invalid.for_field(
            "verifier", "Only `select: verifier` asks one.", "Leave it out, or set select."
        )
    if sent.with_tools:
        _check_tools(sent)
    if isinstance(sent, CompletionIn):
        _check_completion(sent)


def _check_select(sent: Asked) -> None:
    if (sent.n or 1) < 2:
        raise Invalid.for_field("n", "select chooses among several texts.", "Ask for 2 or more.")
    if sent.stream:
        raise Invalid.for_field("stream", "A text is chosen once all are there.", "Leave it out.")
    if isinstance(sent, CompletionIn) and sent.echo:
        raise Invalid.for_field("echo", "select reads texts without their prompt.", "Leave it out.")
    if sent.select == "verifier" and isinstance(sent, CompletionIn) and not isinstance(sent.prompts[0], str):
        raise Invalid.for_field("prompt", "A verifier reads prompts as text.", "Send the prompt as text.")


def _check_tools(sent: Asked) -> None:
    if sent.select is not None:
        reason = "select reads texts that call no tool."
        raise Invalid.for_field("select", reason, "Leave one of the two out.")
    if isinstance(sent, CompletionIn) and sent.echo:
        raise Invalid.for_field("echo", "A prompt that is shown calls no tool.", "Leave it out.")
    if isinstance(sent, CompletionIn | ChatIn) and sent.logprobs:
        reason = "What a tool says has no probability."
        raise Invalid.for_field("logprobs", reason, "Leave one of the two out.")


def _check_completion(sent: CompletionIn) -> None:
    if sent.best_of not in (None, sent.n or 1):
        fix = "Ask for `n` texts and choose among them."
        raise Invalid.for_field("best_of", "best_of is not known here.", fix)
    if sent.max_tokens == 0 and not sent.echo:
        fix = "Ask for 1 or more, or for the prompt's own probabilities with `echo`."
        raise Invalid.for_field("max_tokens", "With 0 tokens nothing would be written.", fix)
    if (texts := len(sent.prompts) * (sent.n or 1)) > MAX_TEXTS:
        reason = f"Prompts times n are {texts} texts; {MAX_TEXTS} at most are written for a request."
        raise Invalid.for_field("prompt", reason, "Send several requests.")
