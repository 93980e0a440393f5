"""Prompt sets drafted by the base model, for a person to edit and accept."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from star_client.objects import PromptDraft
from star_client.transport import Request, Transport, once

LONGEST_WAIT = 30.0  # seconds that one request waits


class PromptDrafts:
    """The base model reasons about a few rows of a dataset."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def create(
        self,
        *,
        dataset: str,
        model: str,
        rows: int = 5,
        examples: Sequence[Mapping[str, Any]] = (),
        idempotency_key: str | None = None,
    ) -> PromptDraft:
        """Begin a draft; returns at once. examples: worked ones of your own that the model is shown, in place
        of the built-in ones of the dataset's kind. Sent with an Idempotency-Key, so that a retry makes one.
        """
        body = {"dataset": dataset, "model": model, "rows": rows, "examples": [dict(one) for one in examples]}
        answer = self._transport.send(once("/v1/prompt-drafts", body, idempotency_key))
        return PromptDraft.model_validate_json(answer.content)

    def get(self, draft_id: str, *, wait: float = 0) -> PromptDraft:
        """What there is so far; `wait`: at most so many seconds (30) for its end."""
        request = Request("GET", f"/v1/prompt-drafts/{draft_id}", {"wait": wait or None})
        return PromptDraft.model_validate_json(self._transport.send(request).content)

    def wait(self, draft: PromptDraft, *, patience: float = 600.0) -> PromptDraft:
        """The draft once it has ended. Raises TimeoutError after `patience` seconds."""
        deadline = time.monotonic() + patience
        while not draft.is_terminal:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"{draft.id} is {draft.status} after {patience:g} s; it goes on.")
            draft = self.get(draft.id, wait=min(left, LONGEST_WAIT))
        return draft
