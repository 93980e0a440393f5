"""The filters of GET /v1/jobs, read from its query."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query, Request

from app.errors import Invalid
from app.http.schemas import MAX_METADATA, ArchivedFilter, Moment
from app.ledger.jobs.lists import JobFilter, Order
from app.tables.statuses import JobStatus

Named = Annotated[str | None, Query(max_length=200)]


def job_filter(
    request: Request,
    status: Annotated[
        list[JobStatus] | None, Query(description="Any of these statuses; the parameter may be repeated.")
    ] = None,
    model: Named = None,
    dataset: Named = None,
    name: Annotated[str | None, Query(max_length=200, description="A part of the name.")] = None,
    created_after: Annotated[Moment | None, Query(description="RFC 3339")] = None,
    created_before: Annotated[Moment | None, Query(description="RFC 3339")] = None,
    archived: ArchivedFilter = False,
    order: Annotated[Order, Query(description="By creation time, or by name ignoring case.")] = "newest",
) -> JobFilter:
    """`metadata[key]=value` as well, any number of times."""
    return JobFilter(
        statuses=status or (),
        model=model,
        dataset=dataset,
        name=name,
        metadata=_metadata(request),
        created_after=created_after,
        created_before=created_before,
        archived=archived,
        order=order,
    )


def _metadata(request: Request) -> dict[str, str]:
    found = {
        name[len("metadata[") : -1]: value
        for name, value in request.query_params.items()
        if name.startswith("metadata[") and name.endswith("]")
    }
    for key in found:
        if not key or '"' in key or "\\" in key or len(found) > MAX_METADATA:
            fix = f"Use at most {MAX_METADATA} keys, without quotation marks and backslashes."
            raise Invalid.for_field("metadata", "Such keys cannot be searched for.", fix)
    return found
