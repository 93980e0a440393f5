"""Estimates how long a job will take from recorded speeds of this platform."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.ledger.platform.usage import GPU_PHASES
from app.ledger.queue.position import Queue
from app.tables.base import JsonObject
from app.tables.jobs import Job, Step, known_settings
from app.tables.usage import Usage
from star_engine.config.quiet_star import OuterLoop
from star_engine.config.schedules import EpochsSchedule
from star_engine.config.star import StarConfig, Training
from star_engine.data.selection import steps_in
from star_engine.evaluation.accuracy import adapter_modes
from star_engine.loop import PhaseName, closing_phases, phases_of
from star_engine.phases.table import PHASES
from star_engine.sampling.probe import TRIES as PROBE_TRIES

RECORDS = 300  # finished steps that are looked at, over all models asked for
LATEST = 20  # of them per model and phase: what a change of the deployment made untrue is soon forgotten
FEWEST = 2  # one record gives no interval


@dataclass(frozen=True, slots=True)
class Span:
    """Seconds: as the fastest, the median and the slowest of what was recorded would take."""

    low: float
    expected: float
    high: float

    def __add__(self, other: Span) -> Span:
        return Span(self.low + other.low, self.expected + other.expected, self.high + other.high)

    def times(self, factor: float) -> Span:
        return Span(self.low * factor, self.expected * factor, self.high * factor)


NOTHING = Span(0.0, 0.0, 0.0)
ROW_TOKENS = (
    128  # of a mean row, where a step of tokens is counted in rows: GSM8K's are 175, CommonsenseQA's 93
)


@dataclass(frozen=True, slots=True)
class Unknown:
    """Why there is no estimate."""

    code: Literal["no_history", "no_worker", "paused", "no_price"]
    message: str


@dataclass(frozen=True, slots=True)
class Left:
    """What a job still needs if it runs all its iterations; one that stops at a plateau needs less."""

    gpu_seconds: Span
    work: tuple[tuple[PhaseName, Span], ...]
    shared: bool = True  # whether phases that ask are cut into steps

    def seconds(self, workers: int) -> Span:
        """Return the wall-clock time with this many workers: shards run in parallel, the rest does not."""
        total = NOTHING
        for phase, span in self.work:
            total += span.times(1 / workers) if PHASES[phase].asks and self.shared else span
        return total


@dataclass(frozen=True, slots=True)
class History:
    """Seconds per unit of work by model and phase (an answer, a training sequence, a step), and per step."""

    rates: dict[tuple[str, str], list[float]]
    steps: list[float]

    def rate(self, model_id: str, phase: str) -> Span | None:
        return _span(self.rates.get((model_id, phase), []))


def read_history(session: Session, model_ids: Collection[str]) -> History:
    """Read the latest uninterrupted steps of all projects, in one query."""
    query = (
        select(Usage.phase, Step.model_id, Step.work, Step.started_at, Step.finished_at, Job.stored_config)
        .add_columns(Usage.iteration_number, Step.progress, Usage.job_id)
        .join(Step, Step.id == Usage.step_id)
        .join(Job, Job.id == Usage.job_id)
        .where(Usage.outcome == "succeeded", Usage.fence == 1, Step.model_id.in_(model_ids))
        .order_by(Usage.id.desc())
        .limit(RECORDS)
    )
    rates: dict[tuple[str, str], list[float]] = defaultdict(list)
    steps = []
    configs: dict[str, StarConfig | None] = {}  # by job: most records are of a few
    for phase, model_id, work, began, ended, stored, number, progress, job_id in session.execute(query):
        seconds = (ended - began).total_seconds()
        if job_id not in configs:
            configs[job_id] = known_settings(stored)
        config = configs[job_id]
        units = _units_done(phase, config, number, work, progress) if config is not None else 0.0
        known = rates[model_id, _rated(config, phase)]
        if units and len(known) < LATEST:
            known.append(seconds / units)
        steps.append(seconds)
    return History(dict(rates), steps[:LATEST])


def what_is_left(history: History, job: Job, splits: JsonObject, progress: JsonObject) -> Left | Unknown:
    """What a job that was made still needs. `splits`: its dataset's; `progress`: of its current phase."""
    config = known_settings(job.stored_config)
    if config is None:
        return Unknown("no_history", "Its settings are of a newer version than this server's.")
    plan = list(_plan(config)) if job.purpose == "star" else []
    if job.phase is not None:
        here = (job.iteration, job.phase)
        plan = plan[plan.index(here) :] if here in plan else [here]
    done = progress["done"] / progress["total"] if progress.get("total") else 0.0
    return _estimate(history, job.model_id, config, splits, plan, done)


def what_it_takes(
    history: History, model_id: str, config: StarConfig, splits: JsonObject, after: int | None = None
) -> Left | Unknown:
    """What a job that was not made yet would need. after: the last iteration that a fork takes over."""
    plan = [one for one in _plan(config) if after is None or one[0] > after]
    return _estimate(history, model_id, config, splits, plan, 0.0)


def queue_seconds(history: History, queue: Queue, model_id: str, steps_ahead: int) -> Span | Unknown:
    """How long a job waits for its first worker, with so many queued steps before it."""
    workers = queue.fitting.get(model_id, 0)
    if workers == 0:
        return Unknown("no_worker", f"No running worker has what the model {model_id} needs.")
    free = workers - queue.busy
    if steps_ahead < free:
        return NOTHING
    step = _span(history.steps)
    if step is None:
        return _no_history(model_id, "any phase")
    return step.times((steps_ahead + max(queue.busy, 1) / 2) / workers)


def _estimate(
    history: History,
    model_id: str,
    config: StarConfig,
    splits: JsonObject,
    plan: Sequence[tuple[int, PhaseName]],
    done: float,
) -> Left | Unknown:
    """`done`: the share of the plan's first phase that is behind."""
    gpu, work = NOTHING, []
    for place, (number, phase) in enumerate(plan):
        rate = history.rate(model_id, _rated(config, phase))
        if rate is None:
            return _no_history(model_id, phase)
        share = 1.0 - done if place == 0 else 1.0
        span = rate.times(_units(phase, config, number, splits) * share)
        work.append((phase, span))
        gpu += span if phase in GPU_PHASES else NOTHING
    return Left(gpu, tuple(work), shared=config.method is not OuterLoop.QUIET_STAR)


def _plan(config: StarConfig) -> Iterator[tuple[int, PhaseName]]:
    last = 0 if config.baselines_only else config.iterations
    for number in range(last + 1):
        yield from ((number, phase) for phase in phases_of(config, number))
    yield from ((last, phase) for phase in closing_phases(config))


def _rated(config: StarConfig | None, phase: PhaseName) -> str:
    """What speeds are kept by: a phase of another method does other work."""
    quiet = config is not None and config.method is OuterLoop.QUIET_STAR
    return f"{OuterLoop.QUIET_STAR} {phase}" if quiet else phase


def _quiet_units(phase: PhaseName, config: StarConfig, number: int) -> float:
    """Positions that the model computes, thoughts included."""
    method = config.quiet_star
    if method is None or phase is PhaseName.VERIFY_ADAPTER:
        return 1.0
    segment = method.segment(max(1, number))
    windows = float(method.held_out_windows)
    if phase is PhaseName.TRAIN:
        windows = float(method.steps_in(max(1, number)) * method.batch_windows * method.rationales)
    return windows * method.window * segment.passes


def _units(phase: PhaseName, config: StarConfig, number: int, splits: JsonObject) -> float:
    """How much work a phase is. An upper bound where a curriculum or a selection asks fewer, or filters keep
    fewer.
    """
    if config.method is OuterLoop.QUIET_STAR:
        return _quiet_units(phase, config, number)
    asked = min(splits.get("train", 0), config.examples_per_iteration or splits.get("train", 0))
    held_out = splits.get(config.evaluation.split, 0)
    held_out = min(held_out, config.evaluation.max_examples or held_out)
    tries = config.generation.samples_per_example
    if phase is PhaseName.BASELINES:
        return float(held_out * len(config.evaluation.baselines))
    if phase is PhaseName.CONTROL:
        return float(probes_in(config, asked))
    if phase is PhaseName.SAMPLE:
        return float(asked * tries)
    if phase is PhaseName.EVALUATE:
        return float(held_out * len(adapter_modes(config)))
    if phase is PhaseName.TEST_TIME:
        return float(held_out * candidates_in(config))
    if phase is PhaseName.PROBE:
        return float(asked * PROBE_TRIES)
    if phase is PhaseName.FAITHFULNESS:
        return float(probed_twice(config, held_out or asked) or 1)
    return _sequences(config, number, asked * tries) if phase is PhaseName.TRAIN else 1.0


def _units_done(
    phase: PhaseName, config: StarConfig, number: int, work: JsonObject, progress: JsonObject
) -> float:
    if config.method is OuterLoop.QUIET_STAR:
        return _quiet_units(phase, config, number)
    if PHASES[phase].asks:
        tries = config.generation.samples_per_example if phase is PhaseName.SAMPLE else 1
        tries = candidates_in(config) if phase is PhaseName.TEST_TIME else tries
        tries = PROBE_TRIES if phase is PhaseName.PROBE else tries
        return float((work["stop"] - work["start"]) * tries)
    if phase is PhaseName.CONTROL:
        return float(progress.get("total", 0))
    if phase is PhaseName.FAITHFULNESS:
        return float(2 * config.audits.faithfulness or 1)
    if phase is not PhaseName.TRAIN:
        return 1.0
    if isinstance(config.training.schedule, EpochsSchedule):  # the rows are not known here, the steps are
        return float(progress.get("total", 0) * _rows_of_step(config.training))
    return _sequences(config, number, 0)


def probed_twice(config: StarConfig, questions: int) -> int:
    """Texts of a phase faithfulness: each question with a wrong hint, and without."""
    return 2 * min(config.audits.faithfulness, questions)


def probes_in(config: StarConfig, asked: int) -> int:
    """Tries of a phase control, where an iteration asks so many examples; 0 where there is none."""
    if config.controller is None:
        return 0
    tries = min(asked, config.controller.probe_examples) * config.generation.samples_per_example
    return tries * len(config.controller.temperatures)


def candidates_in(config: StarConfig) -> int:
    """Answers to each held-out question in a phase test_time; 0 where there is none."""
    return 0 if config.evaluation.test_time is None else config.evaluation.test_time.samples


def _sequences(config: StarConfig, number: int, rows: int) -> float:
    training = config.training
    of_step = _rows_of_step(training)
    return float(steps_in(training.schedule, number, rows=rows, batch_size=of_step) * of_step)


def _rows_of_step(training: Training) -> int:
    """Of a mean length where a step is counted in tokens."""
    if training.batch_tokens is None:
        return training.batch_size
    return max(1, round(training.batch_tokens / ROW_TOKENS))


def _span(records: Sequence[float]) -> Span | None:
    if len(records) < FEWEST:
        return None
    return Span(min(records), median(records), max(records))


def _no_history(model_id: str, phase: str) -> Unknown:
    return Unknown(
        "no_history", f"Fewer than {FEWEST} finished steps of {phase} with {model_id} are on record."
    )
