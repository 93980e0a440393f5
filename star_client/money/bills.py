"""Bills: what GPU time has cost, where the deployment has set prices."""

from __future__ import annotations

from datetime import date

from star_client.objects import Fields
from star_client.transport import Request, Transport


class ClassCost(Fields):
    """gpu_class None: of workers that state none."""

    gpu_class: str | None = None
    gpu_hours: float
    price_per_hour: float | None = None
    amount: float | None = None


class Cost(Fields):
    """amount None: a part has no price; `unavailable` says which."""

    currency: str
    gpu_hours: float
    amount: float | None = None
    unavailable: str | None = None


class IterationCost(Cost):
    iteration: int
    newly_solved: int | None = None
    amount_per_newly_solved: float | None = None


class JobBill(Cost):
    """newly_solved: train questions that were solved for the first time after the first training."""

    job: str
    by_class: tuple[ClassCost, ...] = ()
    iterations: tuple[IterationCost, ...] = ()
    newly_solved: int = 0
    amount_per_newly_solved: float | None = None


class JobCost(Cost):
    job: str


class ProjectBill(Cost):
    project: str
    by_class: tuple[ClassCost, ...] = ()
    jobs: tuple[JobCost, ...] = ()


class Bills:
    """Claims that have ended, at the prices that are set now."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def of_job(self, job_id: str) -> JobBill:
        answer = self._transport.send(Request("GET", f"/v1/jobs/{job_id}/bill"))
        return JobBill.model_validate_json(answer.content)

    def of_project(
        self, *, since: date | None = None, until: date | None = None, project: str | None = None
    ) -> ProjectBill:
        """By job. `since`, `until`: days (UTC), inclusive. `project`: for operators; else the key's own."""
        days = {"since": since and since.isoformat(), "until": until and until.isoformat()}
        answer = self._transport.send(Request("GET", "/v1/bill", {**days, "project": project}))
        return ProjectBill.model_validate_json(answer.content)
