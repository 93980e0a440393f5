"""Describes a job without creating it: resolved settings, first prompts, and estimated cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session

from app.data.tokenizers import count_tokens, tokenizer_of
from app.http.schemas import Timestamp
from app.jobs.dry_run.warnings import WarningOut, few_shot_warnings, job_warnings, training_warnings
from app.jobs.quiet_star.work import thought_work
from app.jobs.settings import asked_prompts
from app.jobs.views import UnknownOut
from app.jobs.workload import COUNTED, WorkOut, workload
from app.ledger.data.examples import each_example, load_examples, selected_positions
from app.ledger.jobs.jobs import NewJob
from app.ledger.platform.prices import Prices, why_no_price
from app.ledger.queue.capacity import fitting_gpus
from app.ledger.queue.estimates import (
    History,
    Left,
    Span,
    Unknown,
    queue_seconds,
    read_history,
    what_it_takes,
)
from app.ledger.queue.position import Queue, read_queue
from star_engine.config.quiet_star import OuterLoop
from star_engine.config.star import StarConfig
from star_engine.sampling.rationales import (
    RationaleKey,
    Route,
    inserted_hint,
    lead_of,
    rationale_prompt,
)
from star_engine.tasks.examples import Example, PromptSet

if TYPE_CHECKING:
    from tokenizers import Tokenizer

Estimated = Literal["gpu_seconds", "seconds", "queue_seconds", "cost"]
SHOWN = 3  # examples of the preview
ESTIMATED: tuple[Estimated, ...] = ("gpu_seconds", "seconds", "queue_seconds", "cost")


class PromptOut(BaseModel):
    text: str
    tokens: Annotated[int | None, Field(description="null if only the workers have the model's tokenizer.")]


class ProceduralHintOut(BaseModel):
    """The hint of the example's first hinted try, as it is drawn by the job's seed."""

    name: Annotated[str, Field(description="In the library, such as calculation/1, or own/1 of hints.texts.")]
    text: Annotated[str, Field(description="The characters that are put in; the model goes on behind them.")]
    insert: Literal["start", "before_end", "after_words"]
    word: Annotated[str | None, Field(description="Of after_words: that behind which it is put in.")]
    masked: Annotated[bool, Field(description="Whether no loss falls on it.")]


class PreviewOut(BaseModel):
    """One example as iteration 1 would prompt it."""

    example: str
    prompt: PromptOut
    hinted_prompt: Annotated[PromptOut | None, Field(description="null where rationalization is off.")]
    procedural_hint: Annotated[
        ProceduralHintOut | None,
        Field(description="null where the job has no `hints`. Put into the text where all tries fail."),
    ]


class SecondsRangeOut(BaseModel):
    """Seconds, from recorded history: as its fastest, median and slowest steps would take."""

    model_config = ConfigDict(from_attributes=True)

    low: float
    expected: float
    high: float


class CostRangeOut(BaseModel):
    """The same GPU time at the deployment's prices. Where workers of several prices may take the job, `low`
    is at the lowest and `high` at the highest of them.
    """

    currency: str
    low: float
    expected: float
    high: float


class EstimateOut(BaseModel):
    """For all iterations. `unavailable` gives the reason for each null field."""

    gpu_seconds: SecondsRangeOut | None
    seconds: SecondsRangeOut | None
    queue_seconds: SecondsRangeOut | None
    cost: CostRangeOut | None
    unavailable: dict[Estimated, UnknownOut]


class DryRunBudget(BaseModel):
    gpu_seconds: float | None
    deadline: Timestamp | None


class DryRunOut(BaseModel):
    object: Literal["job_dry_run"] = "job_dry_run"
    name: str
    model: str
    dataset: str
    prompt_set: str
    config: dict[str, Any]
    budget: DryRunBudget
    warnings: list[WarningOut]
    preview: list[PreviewOut]
    estimate: EstimateOut
    work: WorkOut


def dry_run(session: Session, new: NewJob, prices: Prices) -> DryRunOut:
    """Describe a validated job without creating it."""
    queue, history = read_queue(session), read_history(session, [new.model.id])
    after = None if new.fork is None else new.fork.iteration  # what a fork takes over is not done again
    left = what_it_takes(history, new.model.id, new.config, new.dataset.splits, after)
    tokenizer, prompt_set = tokenizer_of(new.model), asked_prompts(new.config, new.prompt_set, new.model)
    asks = new.config.method is not OuterLoop.QUIET_STAR
    if asks:
        examples = each_example(session, new.dataset.id, ["train"], COUNTED)
        work = workload(new.config, new.dataset.splits, prompt_set, examples, tokenizer, after=after)
    else:
        work = thought_work(new.config, new.model, new.dataset)
    return DryRunOut(
        name=new.name,
        model=new.model.id,
        dataset=new.dataset.id,
        prompt_set=new.prompt_set.id,
        config=new.config.model_dump(mode="json"),
        budget=DryRunBudget(gpu_seconds=new.budget_gpu_seconds, deadline=new.deadline_at),
        warnings=[
            *job_warnings(new, queue, tokenizer, left),
            *(few_shot_warnings(session, new, prompt_set) if asks else ()),
            *(training_warnings(new, work) if asks else ()),
        ],
        preview=_preview(session, new, prompt_set, tokenizer) if asks else [],
        estimate=_estimate(new, queue, history, left, cost_of(session, new, left, prices)),
        work=work,
    )


def _preview(
    session: Session, new: NewJob, prompt_set: PromptSet, tokenizer: Tokenizer | None
) -> list[PreviewOut]:
    positions = selected_positions(session, new.dataset.id, new.config, 1)[:SHOWN]
    hints = new.config.rationalization.enabled

    def shown(example: Example, route: Route) -> PromptOut:
        text = rationale_prompt(new.config, prompt_set, example, route, iteration=1)
        return PromptOut(text=text, tokens=count_tokens(tokenizer, text) if tokenizer else None)

    return [
        PreviewOut(
            example=example.id,
            prompt=shown(example, Route.GENERATED),
            hinted_prompt=shown(example, Route.RATIONALIZED) if hints else None,
            procedural_hint=_procedural_hint(new.config, example),
        )
        for _, example in load_examples(session, new.dataset.id, "train", positions)
    ]


def _procedural_hint(config: StarConfig, example: Example) -> ProceduralHintOut | None:
    found = inserted_hint(config, RationaleKey(example.id, Route.HINTED, 0), 1)
    if found is None or config.hints is None:
        return None
    lead = lead_of(config) if found.at_start else "\n"  # it begins a line
    return ProceduralHintOut(
        name=found.hint.name,
        text=lead + found.hint.text,
        insert=config.hints.insert,
        word=found.word,
        masked=config.hints.masked,
    )


def cost_of(session: Session, new: NewJob, left: Left | Unknown, prices: Prices) -> CostRangeOut | Unknown:
    """What GPU time costs on the workers that may take the job."""
    if isinstance(left, Unknown):
        return left
    shapes = fitting_gpus(session, new.model)
    if unpriced := sorted({name or "" for _, name in shapes if prices.of(name) is None}):
        return Unknown("no_price", why_no_price(unpriced))
    rates = [gpus * (prices.of(name) or 0.0) / 3600 for gpus, name in shapes]  # for a second
    span, low, high = left.gpu_seconds, min(rates), max(rates)
    money = (span.low * low, span.expected * (low + high) / 2, span.high * high)
    low, expected, high = (round(one, 6) for one in money)
    return CostRangeOut(currency=prices.currency, low=low, expected=expected, high=high)


def _estimate(
    new: NewJob, queue: Queue, history: History, left: Left | Unknown, cost: CostRangeOut | Unknown
) -> EstimateOut:
    ahead = sum(one.steps for one in queue.waiting if one.order[1] <= -new.priority)
    wait = queue_seconds(history, queue, new.model.id, ahead)
    workers = queue.fitting.get(new.model.id, 0)
    if isinstance(left, Unknown):
        parts: tuple[Span | Unknown, ...] = (left, left, wait)
    else:
        no_worker = Unknown("no_worker", f"No running worker has what the model {new.model.id} needs.")
        parts = (left.gpu_seconds, left.seconds(workers) if workers else no_worker, wait)
    known = [None if isinstance(one, Unknown) else SecondsRangeOut.model_validate(one) for one in parts]
    return EstimateOut(
        gpu_seconds=known[0],
        seconds=known[1],
        queue_seconds=known[2],
        cost=None if isinstance(cost, Unknown) else cost,
        unavailable={
            name: UnknownOut(code=one.code, message=one.message)
            for name, one in zip(ESTIMATED, (*parts, cost), strict=True)
            if isinstance(one, Unknown)
        },
    )
