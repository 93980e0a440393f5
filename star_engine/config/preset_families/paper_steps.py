"""The steps of the paper: how many rows, and how the rate rises."""

from __future__ import annotations

from star_engine.config.schedules import Schedule
from star_engine.config.star import Training

STEP_TOKENS = 8 * 1024  # of the paper's step: 8 packed sequences (appendix G); 42 rows of GSM8K
RELEASED_STEP_TOKENS = 8 * 1536  # of configs/qa_base.json in the released code


def paper_training(schedule: Schedule) -> Training:
    """The paper's steps: how many rows, and how the rate rises (section 4.1)."""
    return Training(schedule=schedule, batch_tokens=STEP_TOKENS, warmup_steps=100)
