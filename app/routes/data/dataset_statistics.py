"""What is known of a dataset before anything is trained on it."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query

from app.data.dataset_statistics import DatasetStatisticsOut, read_statistics
from app.http.auth import Reader
from app.http.dependencies import Db, OfferedModels
from app.http.router import api_router

router = api_router("datasets", "/v1/datasets")
Id = Annotated[str | None, Query(max_length=200)]


@router.get("/{dataset_id}/statistics", summary="Get the statistics of a dataset")
def statistics(
    caller: Reader,
    db: Db,
    offered: OfferedModels,
    dataset_id: str,
    model: Id = None,
    prompt_set: Id = None,
) -> DatasetStatisticsOut:
    return read_statistics(db, caller.project_id, offered, dataset_id, model=model, prompt_set=prompt_set)
