"""Many answers to each held-out question, and the accuracy that k of them come to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from star_client.downloads import save
from star_client.objects import Example, Fields, Json, Page, Resource
from star_client.resources import LARGEST_PAGE, every
from star_client.transport import Request, Transport


class CandidateScore(Fields):
    """`logprob`: natural logarithm of the text's probability, over `tokens` tokens."""

    logprob: float
    tokens: int


class Candidate(Resource):
    """One of many answers to a held-out question, by the base model (iteration 0) or an adapter.

    `canonical`: the answer in normal form, which a vote counts. `scores`: by scorer.
    """

    job: str
    iteration: int
    example: Example
    sample: int
    text: str
    extracted: str | None = None
    canonical: str | None = None
    verdict: str
    tokens: int
    finish_reason: str
    scores: Mapping[str, CandidateScore] = {}
    tools: Json | None = None


class Point(Fields):
    """An accuracy with its exact 95 % interval over questions."""

    value: float
    low: float
    high: float


class TestTimeCurves(Fields):
    """Accuracy of one model over k answers to a question: by method, a point for each of `ks`."""

    iteration: int
    samples: int
    temperature: float
    n: int
    ks: tuple[int, ...]
    curves: Mapping[str, tuple[Point, ...]]
    unparsed: float
    solutions: float
    entropy: float


class Candidates:
    """Many answers to each held-out question."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(
        self, job_id: str, *, limit: int = 20, after: str | None = None, **filters: str | int | None
    ) -> Page[Candidate]:
        """By iteration, example and sample. Filters: iteration (0: the base model), verdict, example."""
        params = {"limit": limit, "after": after, **filters}
        request = Request("GET", f"/v1/jobs/{job_id}/candidates", params)
        return Page[Candidate].model_validate_json(self._transport.send(request).content)

    def every(self, job_id: str, **filters: str | int | None) -> Iterator[Candidate]:
        """As `list`, over all pages."""
        path = f"/v1/jobs/{job_id}/candidates"
        return every(self._transport, path, Candidate, {"limit": LARGEST_PAGE, **filters})

    def download(self, job_id: str, number: int, file: Path, *, format: str = "jsonl") -> Path:  # noqa: A002
        """All answers of an iteration (0: of the base model) as a file: jsonl or parquet."""
        path = f"/v1/jobs/{job_id}/iterations/{number}/candidates"
        return save(self._transport, Request("GET", path, {"format": format}), file)
