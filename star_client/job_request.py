"""What a job is asked for with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Required, TypedDict

from star_client.objects import rfc3339


class Limits(TypedDict, total=False):
    """Limits on what the job may use. The job ends with what it has once any of them is reached."""

    gpu_seconds: float
    deadline_seconds: float
    deadline: datetime


class Receiver(TypedDict, total=False):
    """A webhook for the events of this job alone."""

    url: Required[str]
    events: Sequence[str]


class JobRequest(TypedDict, total=False):
    """The body of a job request. None means left out."""

    model: Required[str]
    dataset: Required[str]
    prompt_set: str | None  # the few worked examples; left out for documents
    name: str | None
    preset: str | None
    config: Mapping[str, Any] | None  # changes to the preset
    baselines: Sequence[str] | None  # jobs to run too: star-without-rationalization, direct-fine-tune, ...
    seeds: Sequence[int] | None  # repeat it with each: the report has the spread over them
    budget: Limits | None
    webhook: Receiver | None
    return_equal: bool | None  # where an equal job is there, that one is answered; not with baselines
    priority: int | None
    allow_overlap: bool | None  # run although held-out questions of the dataset are trained on
    metadata: Mapping[str, str] | None


def body_of(wanted: JobRequest) -> dict[str, Any]:
    """Convert to JSON types."""
    body: dict[str, Any] = {field: value for field, value in wanted.items() if value is not None}
    budget = body.get("budget")
    if budget and budget.get("deadline") is not None:
        body["budget"] = {**budget, "deadline": rfc3339(budget["deadline"])}
    for listed in ("baselines", "seeds"):
        if listed in body:
            body[listed] = [*body[listed]]
    return body
