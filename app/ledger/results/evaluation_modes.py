"""Under which name answers to held-out examples are recorded."""

from __future__ import annotations

from star_engine.evaluation.accuracy import EvaluationMode


def recorded_mode(mode: EvaluationMode, dataset_id: str | None) -> str:
    """How answers are recorded: by mode, and for a dataset that is measured along by its id behind it."""
    return mode if dataset_id is None else f"{mode}/{dataset_id}"


def dataset_of(recorded: str) -> str | None:
    """The dataset in a recorded mode; None: the job's own."""
    return recorded.partition("/")[2] or None
