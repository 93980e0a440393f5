"""Shares a training's checkpoints through the storage, so that another machine can resume it.

They stay there after the training has ended, as everything in the storage does: docs/operating.md says what a
sweep may remove.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import update

from app.database import reading, transaction
from app.failpoints import failpoint
from app.ledger.queue.steps import Claim, check_fence
from app.storage import CorruptArtifact, MissingArtifact
from app.tables.base import JsonObject
from app.tables.jobs import Step
from star_engine.resume_points import remove_ahead, resume_points, step_of
from worker.context import WorkerContext


class Checkpoints:
    """The trainer's folder of resume points, each a `step-*` file or folder in it, and their copy."""

    def __init__(self, worker: WorkerContext, claim: Claim, folder: Path) -> None:
        self._worker = worker
        self._claim = claim
        self._folder = folder
        self._kept: str | None = None

    def fetch(self, recorded_steps: int) -> None:
        """Download the recorded checkpoint unless this machine has it. A damaged one is ignored: training
        then starts from a local one, or from the beginning.

        recorded_steps: steps whose curve is on record; resume points ahead of them are removed.
        """
        remove_ahead(self._folder, recorded_steps)
        with reading(self._worker.engine) as session:
            recorded = session.get_one(Step, self._claim.step_id).checkpoint
        if recorded is None or (self._folder / recorded["name"]).exists():
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        try:
            for entry in recorded["files"]:
                path = self._folder / entry["path"]
                path.parent.mkdir(parents=True, exist_ok=True)
                self._worker.storage.fetch(entry["sha256"], path)
        except (CorruptArtifact, MissingArtifact):
            return
        self._kept = recorded["name"]

    def keep(self, step: int) -> None:
        """Store the newest resume point up to this step, if there is a new one. Raises Fenced."""
        config = self._claim.config
        if step % (config.quiet_star or config.training).checkpoint_every:
            return
        told = [path for path in resume_points(self._folder) if step_of(path) <= step]
        if not told or told[-1].name == self._kept:
            return
        newest = told[-1]
        files = self._store(newest)
        failpoint("checkpoint.before_record")
        with transaction(self._worker.engine) as session:
            check_fence(session, self._claim)
            found = {"name": newest.name, "files": files}
            session.execute(update(Step).where(Step.id == self._claim.step_id).values(checkpoint=found))
        failpoint("checkpoint.after_record")
        self._kept = newest.name

    def _store(self, newest: Path) -> list[JsonObject]:
        paths = sorted(path for path in newest.rglob("*") if path.is_file()) if newest.is_dir() else [newest]
        return [
            {"path": str(path.relative_to(self._folder)), "sha256": self._worker.storage.put_file(path)}
            for path in paths
        ]
