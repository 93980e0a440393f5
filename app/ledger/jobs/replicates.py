"""A job's family of replicates: the same job with other seeds."""

from __future__ import annotations

from sqlalchemy.orm import Session

from app.ledger.jobs.outcomes import read_iterations, read_outcomes
from app.ledger.jobs.relations import REPLICATE, baselines_of
from app.tables.jobs import Job
from star_engine.evaluation.replicates import OverSeeds, over_seeds, replicate


def read_over_seeds(session: Session, job: Job) -> OverSeeds | None:
    """Return the family's results over its seeds, whichever member is asked for; None if it has
    one seed only.
    """
    first = job
    if job.baseline == REPLICATE and job.baseline_of is not None:
        first = session.get_one(Job, job.baseline_of)
    others = [one for one in baselines_of(session, first.id) if one.baseline == REPLICATE]
    if not others:
        return None
    return over_seeds(
        [
            replicate(one.id, one.config.seed, read_outcomes(session, read_iterations(session, one)))
            for one in (first, *others)
        ]
    )
