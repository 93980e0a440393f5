"""What a soak has deleted: made old enough to be removed, and looked for."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence

from sqlalchemy import func, select

from app.database import clock, reading, transaction
from app.storage import Storage
from app.tables.base import WITH_DELETED
from app.tables.jobs import Job
from app.tables.rationales import Rationale
from tests.factories import World
from tests.platforms import wait_until

LONG_AGO = 7200.0  # seconds: longer than deleted bytes are kept


def let_deleted_go(world: World, deleted: Sequence[str], meanwhile: Callable[[], object]) -> None:
    """As if two hours had passed: rows and bytes of deleted jobs go, and nothing that another needs."""
    if not deleted:
        return
    with transaction(world.engine) as session:
        gone = select(Job).where(Job.id.in_(deleted))
        for job in session.scalars(gone, execution_options=WITH_DELETED):
            job.deleted_at = clock(-LONG_AGO)
    stored = Storage(world.settings.resolved_storage_url()).folder
    assert stored is not None
    for path in stored.rglob("*"):
        os.utime(path, (time.time() - LONG_AGO,) * 2)

    def are_gone() -> bool:
        meanwhile()
        return not _left_of(world, deleted)

    wait_until(are_gone, "deleted jobs are removed", 300)


def _left_of(world: World, deleted: Sequence[str]) -> int:
    with reading(world.engine) as session:
        left = select(func.count()).select_from(Job).where(Job.id.in_(deleted))
        texts = select(func.count()).select_from(Rationale).where(Rationale.job_id.in_(deleted))
        jobs = session.scalar(left, execution_options=WITH_DELETED) or 0
        return jobs + (session.scalar(texts) or 0)
