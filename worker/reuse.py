"""The plan of a step that asks: what the project's jobs have answered before costs no GPU time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from sqlalchemy.orm import Session

from app.database import reading
from app.ledger.queue.steps import Claim
from app.ledger.results.adapters import answering_model
from star_engine.sampling.completion_cache import Recorded, ReusingPlan
from star_engine.sampling.shared_calls import Plan
from worker.context import Workbench
from worker.lease import Lease

Find = Callable[[Session, str, Sequence[str]], Mapping[str, Recorded]]  # session, project, keys
T = TypeVar("T")


def reusing(
    bench: Workbench, claim: Claim, lease: Lease, iteration: int, plan: Plan[T], find: Find
) -> tuple[ReusingPlan[T], str | None]:
    """The plan, its requests looked up among the answers of this iteration's model (0: the base model) first;
    and the id of that model's adapter.
    """
    with reading(bench.engine) as session:
        model, adapter_id = answering_model(session, claim.job_id, claim.model_id, iteration)

    def lookup(keys: Sequence[str]) -> Mapping[str, Recorded]:
        lease.check()  # where all is on record, no call to the GPU does it
        if not keys:
            return {}
        with reading(bench.engine) as session:
            return find(session, claim.project_id, keys)

    return ReusingPlan(plan, model, lookup), adapter_id
