"""Describes a job without creating it: resolved settings, first prompts, and estimated cost."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session

from app.data.tokenizers import count_tokens, tokenizer_of
from app.http.schemas import Timestamp
from app.jobs.overlap import few_shot_held_out
from app.jobs.quiet_star.work import thought_work
from app.jobs.settings import asked_prompts
from app.jobs.views import UnknownOut
from app.jobs.workload import COUNTED, WorkOut, workload
from app.ledger.data.chat_templates import why_not_chat
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
FEW_HELD_OUT = 100  # below, two standard errors of an accuracy are more than ten points
FEW_EXAMPLES = 50
SMALL_DATA = 2000  # train examples, below which the preset quick is where to begin
MANY_PASSES = 50
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


class WarningOut(BaseModel):
    code: str
    message: str


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
            *_warnings(new, queue, tokenizer, left),
            *(_few_shot_warnings(session, new, prompt_set) if asks else ()),
            *(_training_warnings(new, work) if asks else ()),
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


def _warnings(
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


def _few_shot_warnings(session: Session, new: NewJob, prompt_set: PromptSet) -> Iterator[WarningOut]:
    count = few_shot_held_out(session, new.dataset, prompt_set, new.config.evaluation.split)
    if count:
        message = (
            f"{count} held-out examples are few-shot examples of the prompt set too: they are left out of "
            "every evaluation."
        )
        yield WarningOut(code="few_shot_held_out", message=message)


def _training_warnings(new: NewJob, work: WorkOut) -> Iterator[WarningOut]:
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
