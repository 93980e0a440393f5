"""The last step of an evaluation writes its result into the adapter's card and manifest."""

from __future__ import annotations

import shutil

from app.database import reading, transaction
from app.failpoints import failpoint
from app.ledger.queue.steps import Claim, finish_step
from app.ledger.results.adapters import find_adapter, record_measured
from app.ledger.results.evaluations import adapter_tally, is_last_step
from app.tables.base import JsonObject
from star_engine.adapters.layout import CARD, MANIFEST
from star_engine.adapters.model_card import state_accuracy
from star_engine.loop import PhaseName
from worker.context import Workbench


def finish_evaluation(bench: Workbench, claim: Claim) -> None:
    """Finish the step; where it is its phase's last, the card says the accuracy in the same transaction.

    Raises Fenced. Two steps that end at once both look again under the job's lock, so one of them is last.
    """
    files: list[JsonObject] | None = None
    finished = False
    while not finished:
        with transaction(bench.engine) as session:
            last = claim.phase == PhaseName.EVALUATE and is_last_step(session, claim)
            if files is not None or not last:
                if last and files:
                    record_measured(session, claim, files)
                finish_step(session, claim, bench.settings)
                failpoint(f"{claim.phase}.before_finish")
                finished = True
        if not finished:
            files = _measured_files(bench, claim)
    failpoint(f"{claim.phase}.after_finish")


def _measured_files(bench: Workbench, claim: Claim) -> list[JsonObject]:
    """Card and manifest with the accuracy, stored under their sha256; none where the adapter is gone."""
    with reading(bench.engine) as session:
        adapter = find_adapter(session, claim.job_id, claim.iteration)
        correct, asked = adapter_tally(session, claim)
    known = {} if adapter is None else {entry["path"]: entry["sha256"] for entry in adapter.files}
    if not asked or not {CARD, MANIFEST} <= known.keys():
        return []
    folder = bench.folder / "cards" / claim.step_id
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name in (CARD, MANIFEST):
        bench.storage.fetch(known[name], folder / name)
    state_accuracy(folder, correct, asked, claim.config.evaluation.split)
    paths = [folder / name for name in (CARD, MANIFEST)]
    files = [
        {"path": path.name, "size_bytes": path.stat().st_size, "sha256": bench.storage.put_file(path)}
        for path in paths
    ]
    shutil.rmtree(folder, ignore_errors=True)
    return files
