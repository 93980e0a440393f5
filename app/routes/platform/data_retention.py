"""For how long a project keeps texts, events and files."""

from __future__ import annotations

from fastapi import Response

from app.http.auth import Admin, Reader
from app.http.dependencies import Db
from app.http.ranges import IfMatch, tagged
from app.http.router import api_router
from app.http.schemas import CHANGED, OfProject
from app.platform.data_retention import (
    DataRetentionIn,
    DataRetentionOut,
    change_data_retention,
    read_data_retention,
)

router = api_router("projects", "/v1/data-retention")


@router.get("", summary="Get for how long the project keeps texts, events and files")
def get(caller: Reader, db: Db, response: Response, project: OfProject = None) -> DataRetentionOut:
    return tagged(response, read_data_retention(db, caller, project))


@router.put("", responses=CHANGED, summary="Set for how long the project keeps texts, events and files")
def put(
    caller: Admin,
    db: Db,
    expected: IfMatch,
    response: Response,
    sent: DataRetentionIn,
    project: OfProject = None,
) -> DataRetentionOut:
    """Replace the rule. What is too old by it is removed within minutes and cannot be restored.

    A job keeps its metrics, report, curves and adapters; `texts_removed_at` says that its texts are gone, and
    asking for them is answered with 410. The audit log holds an entry for each job and file.
    """
    return tagged(response, change_data_retention(db, caller, sent, project, expected))
