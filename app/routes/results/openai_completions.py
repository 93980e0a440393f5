"""Texts written by base models and adapters, for the unmodified OpenAI client and what is built on it."""

from __future__ import annotations

from typing import Any

from fastapi import Response

from app.http.auth import Submitter
from app.http.dependencies import Db, OfferedModels, Servers
from app.http.router import api_router
from app.results.completion_answers import ChatOut, CompletionOut
from app.results.completion_requests import ChatIn, CompletionIn
from app.results.completions import complete

router = api_router("openai", "/v1")

STREAM = {"text/event-stream": {"schema": {"type": "string"}}}
TEXT: dict[str, Any] = {"model": CompletionOut, "description": "The text.", "content": STREAM}
REPLY: dict[str, Any] = {"model": ChatOut, "description": "The answer.", "content": STREAM}


@router.post("/completions", summary="Continue a prompt", responses={200: TEXT})
async def create(
    caller: Submitter, db: Db, servers: Servers, offered: OfferedModels, sent: CompletionIn
) -> Response:
    """With `echo` and `logprobs` the prompt is scored, as multiple-choice evaluations need it."""
    return await complete(db, servers, caller, offered, sent)


@router.post("/chat/completions", summary="Answer in a conversation", responses={200: REPLY})
async def chat(caller: Submitter, db: Db, servers: Servers, offered: OfferedModels, sent: ChatIn) -> Response:
    """The model's own chat template renders the messages; a model without one is refused."""
    return await complete(db, servers, caller, offered, sent)
