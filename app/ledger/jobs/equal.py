"""Equal jobs: known by one hash of everything that their outcome follows from."""

from __future__ import annotations

import json
from hashlib import sha256

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.tables.data import Dataset, Model, PromptSet
from app.tables.jobs import Job
from app.tables.platform import Project
from app.tables.statuses import JobStatus
from star_engine.config.star import StarConfig

NOT_WORTH_FINDING = (JobStatus.FAILED, JobStatus.CANCELLING, JobStatus.CANCELLED)


def spec_sha256(config: StarConfig, model: Model, dataset: Dataset, prompt_set: PromptSet) -> str:
    """Hash the resolved configuration and the bytes of what it names, never names or ids.

    Not of the budget, the priority or the metadata: they change how far a job gets, not where it goes.
    """
    spec = {
        "config": config.model_dump(mode="json"),
        "model": {"id": model.id, "revision": model.revision, "files": model.files},
        "dataset": dataset.sha256,
        "prompt_set": prompt_set.sha256,
    }
    return sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()


def same_job(session: Session, project_id: str, sha: str) -> Job | None:
    """The project's newest job of this hash that has not failed and was not cancelled.

    Holds the project's row until the transaction ends, so that of two equal jobs that come in at once the
    second finds the first.
    """
    session.execute(select(Project.id).where(Project.id == project_id).with_for_update(key_share=True))
    same = (Job.project_id == project_id, Job.spec_sha256 == sha, Job.status.not_in(NOT_WORTH_FINDING))
    return session.scalars(select(Job).where(*same).order_by(Job.id.desc()).limit(1)).one_or_none()
