"""The review queue of a job: kept rationales that a person should look at first."""

from __future__ import annotations

from star_client.objects import Fields, Page, Rationale
from star_client.objects_results import Override
from star_client.resources import Rationales
from star_client.transport import Request, Transport


class Risk(Fields):
    """`risk` is luck x disagreement; `second_opinion` is None where it was not asked or has no opinion."""

    risk: float
    luck: float
    disagreement: float
    chance: float
    tries: int
    right: int
    second_opinion: bool | None = None


class Review(Fields):
    """What one person says of the text."""

    override: str
    reviewer: str
    verdict: str


class QueuedRationale(Rationale):
    risk: Risk
    reviews: tuple[Review, ...] = ()


class Reviews:
    """A text leaves the queue once it is accepted or dropped; both are overrides of its verdict."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._rationales = Rationales(transport)

    def queue(
        self,
        job_id: str,
        *,
        iteration: int | None = None,
        raters: int | None = None,
        limit: int = 20,
        after: str | None = None,
    ) -> Page[QueuedRationale]:
        """The riskiest first, of the newest iteration that has a training set if none is named.

        raters: how many people are to judge each text. What you have judged yourself is left out.
        """
        params = {"iteration": iteration, "raters": raters, "limit": limit, "after": after}
        request = Request("GET", f"/v1/jobs/{job_id}/review-queue", params)
        return Page[QueuedRationale].model_validate_json(self._transport.send(request).content)

    def accept(self, job_id: str, rationale_id: str, reason: str = "Read and accepted.") -> Override:
        return self._rationales.override(job_id, rationale_id, verdict="correct", reason=reason)

    def drop(self, job_id: str, rationale_id: str, reason: str = "Read and dropped.") -> Override:
        """It is trained on no more from the next training set on, in forks too."""
        return self._rationales.override(job_id, rationale_id, verdict="wrong", reason=reason)
