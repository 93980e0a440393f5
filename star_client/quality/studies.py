"""Blind studies of rationales: which of two a rater prefers, without knowing who wrote them."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import uuid4

from star_client.objects import Fields, Page, Resource, Timestamp
from star_client.objects_results import Limits
from star_client.transport import Request, Transport


class WinRate(Fields):
    """How often one arm is preferred to another; a question counts once, by the majority of its raters."""

    arm: str
    over: str
    wins: int
    losses: int
    ties: int
    rate: float | None = None
    interval: Limits | None = None
    p_value: float | None = None


class Agreement(Fields):
    """Of pairs with two ratings or more: the share of raters that agree, and Fleiss' kappa."""

    pairs: int
    percent: float | None = None
    kappa: float | None = None


class StudyResult(Fields):
    ratings: int
    raters: int
    win_rates: tuple[WinRate, ...] = ()
    agreement: Agreement


class Study(Resource):
    job: str
    iteration: int
    name: str
    arms: tuple[str, ...]
    questions: int
    only_right: bool
    pairs: int
    result: StudyResult
    created_at: Timestamp


class StudyPair(Fields):
    """Two rationales of one question. `number` is what a rating names the pair by."""

    study: str
    number: int
    question: str
    answer: str
    choices: tuple[str, ...] | None = None
    first: str
    second: str


class Turn(Fields):
    """What a rater sees next; `pair` is None once all are rated."""

    study: str
    rater: str
    left: int
    pair: StudyPair | None = None


class Rating(Resource):
    study: str
    pair: int
    rater: str
    choice: str
    created_at: Timestamp


class Studies:
    """Arms: few_shot, star, human."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def create(
        self,
        job_id: str,
        *,
        name: str | None = None,
        iteration: int | None = None,
        arms: Sequence[str] | None = None,
        questions: int | None = None,
        only_right: bool | None = None,
        seed: int | None = None,
        idempotency_key: str | None = None,
    ) -> Study:
        """Pair what an iteration (left out: the best) wrote with what few-shot prompting and people wrote."""
        given = {
            "name": name,
            "iteration": iteration,
            "arms": None if arms is None else [*arms],
            "questions": questions,
            "only_right": only_right,
            "seed": seed,
        }
        body = {field: value for field, value in given.items() if value is not None}
        answer = self._transport.send(_once(f"/v1/jobs/{job_id}/studies", body, idempotency_key))
        return Study.model_validate_json(answer.content)

    def list(self, *, job: str | None = None, limit: int = 20, after: str | None = None) -> Page[Study]:
        """Newest first."""
        request = Request("GET", "/v1/studies", {"job": job, "limit": limit, "after": after})
        return Page[Study].model_validate_json(self._transport.send(request).content)

    def get(self, study_id: str) -> Study:
        """With what its raters prefer so far."""
        answer = self._transport.send(Request("GET", f"/v1/studies/{study_id}"))
        return Study.model_validate_json(answer.content)

    def delete(self, study_id: str) -> None:
        """Delete it with its pairs and ratings."""
        self._transport.send(Request("DELETE", f"/v1/studies/{study_id}"))

    def next(self, study_id: str, *, rater: str | None = None) -> Turn:
        """What a rater (left out: whose key it is) sees next."""
        request = Request("GET", f"/v1/studies/{study_id}/next", {"rater": rater})
        return Turn.model_validate_json(self._transport.send(request).content)

    def rate(
        self,
        study_id: str,
        pair: int,
        choice: str,
        *,
        rater: str | None = None,
        idempotency_key: str | None = None,
    ) -> Rating:
        """`choice`: first, second or tie. The newest rating of a rater of a pair counts."""
        body = {"pair": pair, "choice": choice} | ({} if rater is None else {"rater": rater})
        answer = self._transport.send(_once(f"/v1/studies/{study_id}/ratings", body, idempotency_key))
        return Rating.model_validate_json(answer.content)


def _once(path: str, body: object, key: str | None) -> Request:
    headers = {"Idempotency-Key": key or str(uuid4())}
    return Request("POST", path, headers=headers, json=body, again=True)
