"""A Celery worker without the fence, for the tests that must fail on it: -A tests.faults.unfenced."""

from __future__ import annotations

from typing import Any

from app.ledger.queue import steps
from app.tables.jobs import Step
from worker.celery import celery_app

__all__ = ["celery_app"]


def _held_by_anybody(claim: steps.Claim) -> tuple[Any, ...]:
    return (Step.id == claim.step_id, Step.status == "running")


steps._held_by = _held_by_anybody
