"""The outer loop of STaR as one pure function over what has been recorded (Algorithm 1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from star_engine.config.quiet_star import OuterLoop
from star_engine.config.star import Labels, StarConfig
from star_engine.config.training_set import Source


class PhaseName(StrEnum):
    BASELINES = "baselines"  # iteration 0 only
    CONTROL = "control"  # where the run finds its temperature itself
    SAMPLE = "sample"
    BUILD = "build"
    TRAIN = "train"
    VERIFY_ADAPTER = "verify_adapter"
    EVALUATE = "evaluate"
    FAITHFULNESS = "faithfulness"  # where asked for: see audits.faithfulness
    PAIRS = "pairs"  # right and wrong tries, and how likely the reference model finds them
    TRAIN_VERIFIER = "train_verifier"
    VERIFY_VERIFIER = "verify_verifier"
    TEST_TIME = "test_time"  # many answers to a question: of the base model, and of the last adapter
    PROBE = "probe"  # no part of the loop: how hard a sample of the train questions is, before a job
    TRIAL = "trial"  # no part of the loop: a few questions that a person puts to an adapter


ITERATION_PHASES = (
    PhaseName.SAMPLE,
    PhaseName.BUILD,
    PhaseName.TRAIN,
    PhaseName.VERIFY_ADAPTER,
    PhaseName.EVALUATE,
)
PREFERENCE_PHASES = (PhaseName.SAMPLE, PhaseName.BUILD, PhaseName.PAIRS, *ITERATION_PHASES[2:])

# Of Quiet-STaR: an iteration is a segment of its training. Nothing is asked before the first one.
QUIET_PHASES = (PhaseName.TRAIN, PhaseName.VERIFY_ADAPTER, PhaseName.EVALUATE)

# They follow every iteration, or the last one alone: see `trained_verifier.when`.
VERIFIER_PHASES = (PhaseName.PAIRS, PhaseName.TRAIN_VERIFIER, PhaseName.VERIFY_VERIFIER)


def phases_of(config: StarConfig, iteration: int) -> tuple[PhaseName, ...]:
    """The phases of an iteration in their order; 0: what comes before the first one. Pure."""
    if config.method is OuterLoop.QUIET_STAR:
        return QUIET_PHASES if iteration else ()
    if iteration == 0:
        baselines = (PhaseName.BASELINES,) if config.evaluation.baselines else ()
        return (*baselines, *_test_time(config))
    control = () if config.controller is None else (PhaseName.CONTROL,)
    verifier = config.trained_verifier
    each = verifier is not None and verifier.when == "every_iteration"
    phases = ITERATION_PHASES if config.preference is None else PREFERENCE_PHASES
    written = config.training_set.source is Source.RATIONALES  # others write no rationale
    probed = (PhaseName.FAITHFULNESS,) if config.audits.reads_rationales and written else ()
    return (*control, *phases, *probed, *(VERIFIER_PHASES if each else ()))


def closing_phases(config: StarConfig) -> tuple[PhaseName, ...]:
    """The phases that follow the last iteration, recorded with it. Pure."""
    if config.baselines_only or config.method is OuterLoop.QUIET_STAR:
        return ()
    verifier = config.trained_verifier
    once = verifier is not None and verifier.when == "end"
    return (*(VERIFIER_PHASES if once else ()), *_test_time(config))


def _test_time(config: StarConfig) -> tuple[PhaseName, ...]:
    return () if config.evaluation.test_time is None else (PhaseName.TEST_TIME,)


# They change nothing: their accuracy is all that the rest of the run may read.
MEASURING = (PhaseName.BASELINES, PhaseName.EVALUATE)


class StopReason(StrEnum):
    COMPLETED_ITERATIONS = "completed_iterations"
    PLATEAU = "plateau"
    TARGET_REACHED = "target_reached"
    COVERAGE_SATURATED = "coverage_saturated"
    INSUFFICIENT_KEPT = "insufficient_kept"
    NO_SPARK = "no_spark"  # the few-shot baseline is not above chance
    BUDGET_EXHAUSTED = "budget_exhausted"
    USER_CANCELLED = "user_cancelled"
    DEADLINE = "deadline"
    NO_TOOL_USE = "no_tool_use"  # the model never calls its tool of its own accord


@dataclass(frozen=True, slots=True)
class PhaseRef:
    """A phase of an iteration, by name."""

    iteration: int
    name: PhaseName


@dataclass(frozen=True, slots=True)
class Stop:
    reason: StopReason


@dataclass(frozen=True, slots=True)
class Pause:
    """The run cannot continue as configured, but nothing is lost. `diagnosis` says why and what to change."""

    reason: StopReason
    diagnosis: str


@dataclass(frozen=True, slots=True)
class IterationHistory:
    """What has been recorded of one iteration; number 0 holds the baselines."""

    number: int
    done: frozenset[PhaseName] = field(default_factory=frozenset)
    kept: int | None = None  # training examples; known once build is done
    diagnosis: str | None = None  # written by build where too little was kept
    accuracy: float | None = None  # held out; iteration 0: the best baseline
    solve_rate: float | None = None  # by gold answers: share of the sampled train examples right without hint
    chance_p: float | None = None  # iteration 0: p of a guesser being as good as the best baseline
    accepted: str | None = None  # iteration 0: the reason of a Pause that the user wants to go on from
    pairs: int | None = None  # that are trained on; known once they are drawn
    tool_rate: float | None = None  # share of the tries without a hint that call the tool


def next_phase(config: StarConfig, history: Sequence[IterationHistory]) -> PhaseRef | Stop | Pause:
    """The phase to do next, or why there is none.

    Pure: the same record gives the same answer, so it may be asked again after every crash. `history` may
    come in any order; numbers are unique. A Pause stays until the record changes: to try an iteration
    again, its sample and build phases are taken out of `done`; to accept it, `training_set.min_kept` is
    lowered. Without a spark, `audits.spark_level` is raised or None, or iteration 0 says `accepted`.
    """
    by_number = {record.number: record for record in history}
    baselines = by_number.get(0, IterationHistory(0))
    for name in phases_of(config, 0):
        if name not in baselines.done:
            return PhaseRef(0, name)
    iterations = 0 if config.baselines_only else config.iterations
    if iterations and _no_spark(config, baselines) and not by_number.get(1, IterationHistory(1)).done:
        return Pause(StopReason.NO_SPARK, baselines.diagnosis or "The few-shot baseline is not above chance.")
    for number in range(1, iterations + 1):
        record = by_number.get(number, IterationHistory(number))
        step = _next_in(config, record)
        if step is not None and step == PhaseRef(number, PhaseName.BUILD) and _unused(config, record):
            return _close(config, by_number[number - 1], StopReason.NO_TOOL_USE)
        if step is not None:
            return step
        reason = _stop_after(config, number, by_number)
        if reason is not None:
            return _close(config, record, reason)
    last = by_number.get(iterations, IterationHistory(iterations))
    return _close(config, last, StopReason.COMPLETED_ITERATIONS)


def _close(config: StarConfig, last: IterationHistory, reason: StopReason) -> PhaseRef | Stop:
    """The closing phase to do next, recorded with the last iteration; else the end."""
    open_ = (name for name in closing_phases(config) if name not in last.done)
    name = next(open_, None)
    return Stop(reason) if name is None else PhaseRef(last.number, name)


def next_in_any_case(
    config: StarConfig, history: Sequence[IterationHistory], phase: PhaseRef
) -> PhaseRef | None:
    """What follows a measuring phase whatever it finds; None where a stop or a pause hangs on its outcome.

    Both phases ask the same model, so a conductor may work on them together, and what the later one records
    is the same as if it had waited. A stop rule and the spark read the outcome monotonically: what follows
    from both the worst and the best one follows from any.
    """
    if phase.name not in MEASURING or config.method is OuterLoop.QUIET_STAR:  # its next phase needs the GPU
        return None
    record = next(
        (one for one in history if one.number == phase.iteration), IterationHistory(phase.iteration)
    )
    others = [one for one in history if one.number != phase.iteration]
    done = record.done | {phase.name}
    worst = replace(record, done=done, accuracy=0.0, chance_p=1.0)
    best = replace(record, done=done, accuracy=1.0, chance_p=0.0)
    after_worst, after_best = (next_phase(config, [*others, outcome]) for outcome in (worst, best))
    return after_worst if isinstance(after_worst, PhaseRef) and after_worst == after_best else None


def _no_spark(config: StarConfig, baselines: IterationHistory) -> bool:
    level = config.audits.spark_level
    if level is None or baselines.chance_p is None or baselines.accepted == StopReason.NO_SPARK:
        return False
    return baselines.chance_p > level


def _next_in(config: StarConfig, record: IterationHistory) -> PhaseRef | Pause | None:
    for name in phases_of(config, record.number):
        kept = record.kept or 0
        taught = config.self_distillation is not None  # by every try, right or wrong
        builds = PhaseName.BUILD in phases_of(config, record.number)
        few = builds and kept < config.training_set.min_kept and not taught
        if name is PhaseName.TRAIN and name not in record.done and few:
            return Pause(StopReason.INSUFFICIENT_KEPT, record.diagnosis or f"{kept} rationales were kept.")
        unpaired = config.preference is not None and record.pairs == 0
        if name is PhaseName.TRAIN and name not in record.done and unpaired:
            return Pause(StopReason.INSUFFICIENT_KEPT, record.diagnosis or "No question gave a pair.")
        if name not in record.done:
            return PhaseRef(record.number, name)
    return None


def _unused(config: StarConfig, record: IterationHistory) -> bool:
    """Whether hints have taught nothing: without them the tool is never called, so no row would teach it."""
    return config.hints is not None and record.number > config.hints.iterations and record.tool_rate == 0.0


def _stop_after(
    config: StarConfig, number: int, by_number: Mapping[int, IterationHistory]
) -> StopReason | None:
    """The stop rule, read after iteration `number` was evaluated. Off unless `stop` is configured."""
    rule = config.stop
    accuracies = [by_number[n].accuracy for n in range(number + 1) if n in by_number]
    known = [accuracy for accuracy in accuracies if accuracy is not None]
    latest = by_number[number].accuracy
    if rule.target_accuracy is not None and latest is not None and latest >= rule.target_accuracy:
        return StopReason.TARGET_REACHED
    if rule.patience is None:
        return None
    last_stage = all(stage.from_iteration <= number for stage in config.curriculum)
    whole = last_stage and config.examples_per_iteration is None and config.labels is Labels.GOLD
    whole = whole and not config.selection.recorded  # its solve rate is of some
    if whole and (by_number[number].solve_rate or 0.0) >= 1.0:
        return StopReason.COVERAGE_SATURATED
    return StopReason.PLATEAU if _without_gain(known, rule.min_gain) >= rule.patience else None


def _without_gain(accuracies: Sequence[float], min_gain: float) -> int:
    """How many of the last accuracies in a row fail to beat the best before them by `min_gain`."""
    best: float | None = None
    idle = 0
    for accuracy in accuracies:
        if best is None or accuracy > best + min_gain:
            best, idle = accuracy, 0
        else:
            idle += 1
    return idle
