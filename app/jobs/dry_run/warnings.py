"""What a job may run into, though nothing forbids it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic import BaseModel
from sqlalchemy.orm import Session

from app.jobs.overlap import few_shot_held_out
from app.jobs.workload import WorkOut
from app.ledger.data.chat_templates import why_not_chat
from app.ledger.jobs.jobs import NewJob
from app.ledger.queue.estimates import Left, Unknown
from app.ledger.queue.position import Queue
from star_engine.config.quiet_star import OuterLoop
from star_engine.tasks.examples import PromptSet

if TYPE_CHECKING:
    from tokenizers import Tokenizer

FEW_HELD_OUT = 100  # below, two standard errors of an accuracy are more than ten points
FEW_EXAMPLES = 50
SMALL_DATA = 2000  # train examples, below which the preset quick is where to begin
MANY_PASSES = 50


class WarningOut(BaseModel):
    code: str
    message: str


def job_warnings(
    new: NewJob, queue: Queue, tokenizer: Tokenizer | None, left: Left | Unknown
) -> Iterator[WarningOut]:
    """What the job may run into, though nothing forbids it."""
    for text in new.dataset.warnings or ():
        yield WarningOut(code="dataset", message=str(text))
    train = new.dataset.splits.get("train", 0)
    held_out = new.dataset.splits.get(new.config.evaluation.split, 0)
    if train < FEW_EXAMPLES:
        yield WarningOut(code="few_examples", message=f"There are only {train} examples to learn from.")
    asks = new.config.method is not OuterLoop.QUIET_STAR
    if asks and held_out < FEW_HELD_OUT:
        points = round(200 * (0.25 / max(held_out, 1)) ** 0.5)
        message = f"Accuracy is measured on {held_out} examples: it may be off by {points} points."
        yield WarningOut(code="few_held_out", message=message)
    if asks and tokenizer is None:
        message = "The model's tokenizer is on the workers only: whether prompts fit shows when it runs."
        yield WarningOut(code="prompts_not_counted", message=message)
    if not queue.fitting.get(new.model.id):
        message = f"No running worker has what the model {new.model.id} needs: the job would wait."
        yield WarningOut(code="no_worker", message=message)
    unfit = None if new.config.is_chat or not asks else why_not_chat(new.model)
    if unfit is not None:
        yield WarningOut(code="not_in_chat", message=f"The model is not asked in its chat template. {unfit}")
    limit = new.budget_gpu_seconds
    if limit is not None and isinstance(left, Left) and limit < left.gpu_seconds.expected:
        message = (
            f"The budget of {limit:g} GPU-seconds is below the expected {left.gpu_seconds.expected:.0f}."
        )
        yield WarningOut(code="budget_below_estimate", message=message)


def few_shot_warnings(session: Session, new: NewJob, prompt_set: PromptSet) -> Iterator[WarningOut]:
    count = few_shot_held_out(session, new.dataset, prompt_set, new.config.evaluation.split)
    if count:
        message = (
            f"{count} held-out examples are few-shot examples of the prompt set too: they are left out of "
            "every evaluation."
        )
        yield WarningOut(code="few_shot_held_out", message=message)


def training_warnings(new: NewJob, work: WorkOut) -> Iterator[WarningOut]:
    """What the amount of training, and the ways to get rows, are likely to come to."""
    train = new.dataset.splits.get("train", 0)
    most = max(work.passes, default=0.0)
    if most > MANY_PASSES:
        small = " Begin with the preset quick." if train < SMALL_DATA else " Lower training.schedule."
        message = (
            f"An iteration shows every row up to {most:.0f} times, should every example give one.{small}"
        )
        yield WarningOut(code="many_passes", message=message)
    warmup = new.config.training.warmup_steps
    if work.steps and max(work.steps) < warmup:
        message = (
            f"The learning rate rises over {warmup} steps, and no iteration has more than {max(work.steps)}: "
            "it is never reached. Lower training.warmup_steps, or begin with the preset quick."
        )
        yield WarningOut(code="warm_up_not_reached", message=message)
    hinted = new.config.rationalization.enabled and "hint_free" not in new.config.training_set.checks
    if hinted and not new.config.baselines_only:
        message = (
            "Where most rows come from hints, set training_set.checks to hint_free: it keeps those that lead "
            "to the answer without the hint, and costs at most one greedy completion for each of "
            f"{train} examples and iteration."
        )
        yield WarningOut(code="hints_unchecked", message=message)
