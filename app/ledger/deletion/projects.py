"""Empties deleted projects: marks what they hold as deleted, and removes their keys at the end."""

from __future__ import annotations

import structlog
from sqlalchemy import Engine, delete, exists, or_, select, update
from sqlalchemy.orm import Session

from app.database import clock, reading, transaction
from app.failpoints import failpoint
from app.ledger.jobs.jobs import cancel_job
from app.ledger.transitions import TERMINAL
from app.tables.base import WITH_DELETED
from app.tables.data import Dataset, PromptSet
from app.tables.files import File
from app.tables.jobs import IdempotencyKey, Job
from app.tables.platform import ApiKey, Project
from app.tables.quotas import Quota
from app.tables.retention import RetentionRule
from app.tables.usage import TextUsage, Usage
from app.tables.webhooks import Webhook

BATCH = 100  # jobs per transaction

log = structlog.get_logger()


def empty_projects(engine: Engine) -> int:
    """Go on emptying each deleted project; returns how many are empty now.

    A job may have been accepted at the very moment of the deletion: it is cancelled, and deleted once it has
    ended. A project that was ever used keeps its row, to which its usage refers.
    """
    has_keys = exists().where(ApiKey.project_id == Project.id)
    unfinished = select(Project.id).where(Project.deleted_at.is_not(None), has_keys)
    with reading(engine) as session:
        found = list(session.scalars(unfinished, execution_options=WITH_DELETED))
    return sum(_empty(engine, project_id) for project_id in found)


def _empty(engine: Engine, project_id: str) -> bool:
    with transaction(engine) as session:
        jobs = select(Job).where(Job.project_id == project_id).order_by(Job.id).limit(BATCH)
        for job in session.scalars(jobs).all():
            if job.status in TERMINAL:
                job.deleted_at = clock()
            else:
                cancel_job(session, job)
        session.flush()
        for table in (Dataset, PromptSet, File):
            alive = update(table).where(table.project_id == project_id, table.deleted_at.is_(None))
            session.connection().execute(alive.values(deleted_at=clock()))
        for other in (Webhook, Quota, RetentionRule):
            session.connection().execute(delete(other).where(other.project_id == project_id))
        failpoint("delete.before_commit")
    return _remove_keys(engine, project_id)


def _remove_keys(engine: Engine, project_id: str) -> bool:
    """Once nothing is left that they made; and the project with them, unless its usage refers to it."""
    with transaction(engine) as session:
        if any(_holds(session, table, project_id) for table in (Job, Dataset, PromptSet, File)):
            return False
        for table in (IdempotencyKey, ApiKey):
            session.connection().execute(delete(table).where(table.project_id == project_id))
        used = [exists().where(table.project_id == project_id) for table in (Usage, TextUsage)]
        if not session.scalar(select(or_(*used))):
            session.connection().execute(delete(Project).where(Project.id == project_id))
        failpoint("delete.before_commit")
    log.info("project_removed", project=project_id)
    return True


def _holds(
    session: Session, table: type[Job] | type[Dataset] | type[PromptSet] | type[File], project_id: str
) -> bool:
    found = select(table.id).where(table.project_id == project_id).limit(1)
    return session.scalar(found, execution_options=WITH_DELETED) is not None
