"""What can be wrong with a fork before it is made, each with what to change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated

from pydantic import Field, StrictBool, StrictInt
from sqlalchemy.orm import Session

from app.errors import Conflict, Invalid
from app.http.schemas import In, Metadata, Name
from app.jobs.settings import ConfigOverrides, JobIn
from app.jobs.validate import check_job
from app.ledger.data.examples import split_size
from app.ledger.jobs.forks import ForkPoint
from app.ledger.jobs.jobs import NewJob
from app.ledger.queue.planning import read_history
from app.settings import Settings
from app.tables.jobs import Job
from app.tables.statuses import Purpose
from star_engine.config.presets import laid_over
from star_engine.config.star import StarConfig
from star_engine.evaluation.accuracy import select_held_out
from star_engine.loop import PhaseName, PhaseRef, next_phase, phases_of


class ForkIn(In):
    """Create a new job that continues from an iteration of this job with other settings."""

    from_iteration: Annotated[
        StrictInt, Field(ge=0, le=10_000, description="The last iteration copied; 0: only the baselines.")
    ]
    config: ConfigOverrides = Field(default={}, description="Settings that override those of this job.")
    name: Name | None = None  # None: this job's
    priority: Annotated[StrictInt, Field(ge=-100, le=100)] | None = None  # None: this job's
    metadata: Metadata = Field(default={})
    dry_run: StrictBool = Field(
        default=False, description="Check it, show what it would be and still take, and make nothing."
    )


def check_fork(
    session: Session, offered: frozenset[str], source: Job, sent: ForkIn, deployment: Settings
) -> NewJob:
    """The fork that was asked for. Raises Conflict or Invalid with what to change."""
    if source.purpose != Purpose.STAR:
        raise Conflict("The job only asks a model: there is no loop to go on with.", code="not_a_star_job")
    number = sent.from_iteration
    before = source.config
    _check_done(session, source, before, number)
    settings = {**before.model_dump(mode="json"), "layout": before.layout or "completion"}
    whole = JobIn(
        allow_overlap=True,  # its source was let run on these data
        name=sent.name or source.name,
        model=source.model_id,
        dataset=source.dataset_id,
        prompt_set=source.prompt_set_id,
        config=laid_over(settings, sent.config),
        priority=source.priority if sent.priority is None else sent.priority,
        metadata=sent.metadata,
    )
    new = check_job(session, source.project_id, offered, whole, deployment)
    _check_layout(before, new.config)
    _check_held_out(session, source, before, new.config)
    _check_adapter(before, new.config, number)
    _check_goes_on(session, source, new.config, number)
    return replace(new, fork=ForkPoint(source.id, number))


def _check_done(session: Session, source: Job, config: StarConfig, number: int) -> None:
    done: Mapping[int, frozenset[PhaseName]] = {
        record.number: record.done for record in read_history(session, source)
    }
    if not set(phases_of(config, number)) <= done.get(number, frozenset()):
        whole = (n for n, phases in done.items() if n and set(phases_of(config, n)) <= phases)
        last = max(whole, default=0)
        detail = f"Nothing can go on from iteration {number}: it is not done. The last one that is: {last}."
        raise Conflict(detail, code="iteration_not_done")


def _check_layout(before: StarConfig, after: StarConfig) -> None:
    """Rows, answers and the adapter that are taken over were made with the prompts of the job before."""
    if before.is_chat is after.is_chat and before.chat == after.chat:
        return
    reason = "A fork goes on with rows and an adapter that were made with the layout of its job."
    fix = "Leave layout and chat as they are, or create a new job."
    raise Invalid.for_field("config.layout", reason, fix, code="layout_differs")


def _check_held_out(session: Session, source: Job, before: StarConfig, after: StarConfig) -> None:
    """Accuracies that are taken over must be of the examples that the fork's own are measured on."""
    size = split_size(session, source.dataset_id, before.evaluation.split)
    if (before.evaluation.split, before.evaluation.baselines) == (
        after.evaluation.split,
        after.evaluation.baselines,
    ) and select_held_out(before, size) == select_held_out(after, size):
        return
    reason = (
        "A fork is measured on the held-out examples and against the baselines of the job it goes on from."
    )
    fix = "Leave evaluation.split, evaluation.max_examples and evaluation.baselines as they are, "
    fix += "and with max_examples the seed too; or create a new job."
    raise Invalid.for_field("config.evaluation", reason, fix, code="held_out_differs")


def _check_adapter(before: StarConfig, after: StarConfig, number: int) -> None:
    if number > 0 and after.training.optimizer == "carry" and before.training.optimizer != "carry":
        reason = f"The optimizer of iteration {number} is not on record: its job never carries one."
        fix = 'Set training.optimizer to "fresh", or create a new job.'
        raise Invalid.for_field("config.training.optimizer", reason, fix, code="optimizer_differs")
    if number > 0 and after.training.start_from == "previous" and before.training.lora != after.training.lora:
        reason = f"Training goes on from the adapter of iteration {number}, which has another shape."
        fix = 'Leave training.lora as it is, or set training.start_from to "base".'
        raise Invalid.for_field("config.training.lora", reason, fix, code="adapter_differs")


def _check_goes_on(session: Session, source: Job, config: StarConfig, number: int) -> None:
    taken = [record for record in read_history(session, source) if record.number <= number]
    step = next_phase(config, taken)
    if isinstance(step, PhaseRef):
        return
    reason = f"With these settings the fork would end at once ({step.reason})."
    fix = f"Raise config.iterations above {number}, or loosen config.stop."
    raise Invalid.for_field("config", reason, fix, code="nothing_to_do")
