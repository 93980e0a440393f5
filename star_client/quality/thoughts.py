"""Thoughts between the tokens of held-out documents (Quiet-STaR)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from star_client.downloads import save
from star_client.objects import Page, Resource
from star_client.resources import LARGEST_PAGE, every
from star_client.transport import Request, Transport


class Thought(Resource):
    """A thought before a token of a document.

    `gain`: how much likelier the token became, in nats; `nll`: how unlikely it was without the thought.
    `drawn`: drawn evenly from all positions; else one of those with the largest gains.
    """

    job: str
    iteration: int
    before: str
    thought: str
    token: str
    gain: float
    nll: float
    drawn: bool


class Thoughts:
    """What jobs on documents think between tokens."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(
        self,
        job_id: str,
        *,
        iteration: int | None = None,
        drawn: bool | None = None,
        limit: int = 20,
        after: str | None = None,
    ) -> Page[Thought]:
        """By iteration, the largest gains first. drawn: only those drawn evenly, or only others."""
        params = {"iteration": iteration, "drawn": _said(drawn), "limit": limit, "after": after}
        request = Request("GET", f"/v1/jobs/{job_id}/thoughts", params)
        return Page[Thought].model_validate_json(self._transport.send(request).content)

    def every(
        self, job_id: str, *, iteration: int | None = None, drawn: bool | None = None
    ) -> Iterator[Thought]:
        """As `list`, over all pages."""
        params = {"iteration": iteration, "drawn": _said(drawn), "limit": LARGEST_PAGE}
        return every(self._transport, f"/v1/jobs/{job_id}/thoughts", Thought, params)

    def download(self, job_id: str, number: int, file: Path, *, format: str = "jsonl") -> Path:  # noqa: A002
        """All kept thoughts of an iteration as a file: jsonl or parquet."""
        path = f"/v1/jobs/{job_id}/iterations/{number}/thoughts"
        return save(self._transport, Request("GET", path, {"format": format}), file)


def _said(drawn: bool | None) -> str | None:
    return None if drawn is None else str(drawn).lower()
