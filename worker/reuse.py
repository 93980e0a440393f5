"""The sampler that a step asks: what the project's jobs have answered before costs no GPU time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from sqlalchemy.orm import Session

from app.database import reading
from app.ledger.adapters import answering_model
from app.ledger.steps import Claim
from star_engine.protocols import Sampler
from star_engine.reuse import Recorded, ReusingSampler
from worker.lease import Lease
from worker.workbench import Workbench, load_adapter

Find = Callable[[Session, str, Sequence[str]], Mapping[str, Recorded]]  # session, project, keys


def reusing_sampler(
    bench: Workbench, claim: Claim, lease: Lease, iteration: int, find: Find
) -> tuple[ReusingSampler, str | None]:
    """A sampler with the adapter of this iteration (0: the base model), and the adapter's id.

    The GPU process is started, and the adapter loaded, by the first request that nobody has answered.
    """
    with reading(bench.engine) as session:
        model, adapter_id = answering_model(session, claim.job_id, claim.model_id, iteration)

    def lookup(keys: Sequence[str]) -> Mapping[str, Recorded]:
        lease.check()  # where all is on record, no call to the GPU does it
        if not keys:
            return {}
        with reading(bench.engine) as session:
            return find(session, claim.project_id, keys)

    def opened() -> Sampler:
        load_adapter(bench, claim, lease, iteration)
        return bench.gpu(claim.model_id)

    return ReusingSampler(model, lookup, opened), adapter_id
