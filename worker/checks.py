"""The filters that cost samples, made by the step that holds the sampler and recorded with the rationales."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from app.database import reading, transaction
from app.ledger.queue.steps import Claim
from app.ledger.results.rationales import iteration_tries, record_checks
from star_engine.tasks.examples import Example, PromptSet
from star_engine.training_set.resample_filters import check_rationales, to_check
from worker.context import Workbench


def check_tries(
    bench: Workbench,
    claim: Claim,
    prompt_set: PromptSet,
    examples: Sequence[Example],
    row_ids: Mapping[str, int],
) -> None:
    """Check those of this shard's rationales that have not been checked, and record it. Raises Fenced."""
    if not claim.config.training_set.checks:
        return
    with reading(bench.engine) as session:
        tries = list(iteration_tries(session, claim, list(row_ids.values())))
    ids = {item.key: row_id for row_id, item in tries}
    by_id = {example.id: example for example in examples}
    open_ = to_check(claim.config, prompt_set, examples, [item for _, item in tries])
    gpu = bench.gpu(claim.model_id)
    stream = check_rationales(gpu, claim.config, prompt_set, claim.iteration, by_id, open_)
    found: dict[int, dict[str, bool]] = {}
    for key, results in stream:
        found[ids[key]] = results
        if len(found) >= bench.settings.record_batch:
            _record(bench, claim, found)
            found = {}
    _record(bench, claim, found)


def _record(bench: Workbench, claim: Claim, found: Mapping[int, Mapping[str, bool]]) -> None:
    with transaction(bench.engine) as session:
        record_checks(session, claim, found)
