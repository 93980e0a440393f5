from dataclasses import replace
from typing import Any
from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st

from star_engine.config.evaluation import Evaluation
from star_engine.config.star import StarConfig, StopRule
from star_engine.config.training_set import TrainingSetOptions
from star_engine.loop import (
    ITERATION_PHASES,
    IterationHistory,
    Pause,
    PhaseName,
    PhaseRef,
    Stop,
    StopReason,
    next_in_any_case,
    next_phase,
)
from star_engine.tasks.kind import Kind

ALL = frozenset(ITERATION_PHASES)
BASELINES = IterationHistory(0, frozenset({PhaseName.BASELINES}), accuracy=0.3)


def config(iterations: int = 3, **settings: object) -> StarConfig:
    return StarConfig.model_validate({"kind": Kind.NUMERIC, "iterations": iterations, **settings})


def done(number: int, accuracy: float = 0.5, solve_rate: float = 0.5) -> IterationHistory:
    return IterationHistory(number, ALL, kept=10, accuracy=accuracy, solve_rate=solve_rate)


def test_baselines_come_first_and_only_where_asked_for() -> None:
    assert next_phase(config(), []) == PhaseRef(0, PhaseName.BASELINES)
    without = config(evaluation=Evaluation(baselines=()))
    assert next_phase(without, []) == PhaseRef(1, PhaseName.SAMPLE)


def test_the_phases_of_an_iteration_come_in_order() -> None:
    names = []
    record = IterationHistory(1, kept=5)
    for _ in ITERATION_PHASES:
        phase = next_phase(config(), [BASELINES, record])
        assert isinstance(phase, PhaseRef)
        assert phase.iteration == 1
        names.append(phase.name)
        record = replace(record, done=record.done | {phase.name})
    assert tuple(names) == ITERATION_PHASES
    assert next_phase(config(), [BASELINES, replace(record, accuracy=0.5)]) == PhaseRef(2, PhaseName.SAMPLE)


def test_after_the_last_iteration_the_run_is_complete() -> None:
    history = [BASELINES, done(1), done(2), done(3)]
    assert next_phase(config(), history) == Stop(StopReason.COMPLETED_ITERATIONS)


def test_nothing_kept_pauses_with_the_diagnosis() -> None:
    record = IterationHistory(1, frozenset({PhaseName.SAMPLE, PhaseName.BUILD}), 0, "8 wrong")
    assert next_phase(config(), [BASELINES, record]) == Pause(StopReason.INSUFFICIENT_KEPT, "8 wrong")


def test_without_a_spark_the_run_pauses_before_iteration_1_until_that_is_accepted() -> None:
    dull = replace(BASELINES, chance_p=0.4, diagnosis="5 of 20")
    assert next_phase(config(), [dull]) == Pause(StopReason.NO_SPARK, "5 of 20")
    first = PhaseRef(1, PhaseName.SAMPLE)
    assert next_phase(config(), [replace(dull, chance_p=0.01)]) == first
    assert next_phase(config(), [replace(dull, accepted="no_spark")]) == first
    assert next_phase(config(audits={"spark_level": 0.5}), [dull]) == first
    assert next_phase(config(audits={"spark_level": None}), [dull]) == first
    begun = IterationHistory(1, frozenset({PhaseName.SAMPLE}))
    assert next_phase(config(), [dull, begun]) == PhaseRef(1, PhaseName.BUILD)
    assert next_phase(config(baselines_only=True), [dull]) == Stop(StopReason.COMPLETED_ITERATIONS)


def test_a_lowered_min_kept_ends_the_pause() -> None:
    record = IterationHistory(1, frozenset({PhaseName.SAMPLE, PhaseName.BUILD}), kept=5)
    strict = config(training_set=TrainingSetOptions(min_kept=6))
    lenient = config(training_set=TrainingSetOptions(min_kept=5))
    assert isinstance(next_phase(strict, [BASELINES, record]), Pause)
    assert next_phase(lenient, [BASELINES, record]) == PhaseRef(1, PhaseName.TRAIN)


def test_reaching_the_target_accuracy_stops() -> None:
    aiming = config(stop=StopRule(target_accuracy=0.9))
    assert next_phase(aiming, [BASELINES, done(1, 0.89)]) == PhaseRef(2, PhaseName.SAMPLE)
    assert next_phase(aiming, [BASELINES, done(1, 0.9)]) == Stop(StopReason.TARGET_REACHED)


def test_a_plateau_stops_after_as_many_iterations_as_patience_says() -> None:
    patient = config(9, stop=StopRule(patience=2, min_gain=0.01))
    rising = [BASELINES, done(1, 0.4), done(2, 0.5)]
    assert next_phase(patient, [*rising, done(3, 0.505)]) == PhaseRef(4, PhaseName.SAMPLE)
    assert next_phase(patient, [*rising, done(3, 0.505), done(4, 0.5)]) == Stop(StopReason.PLATEAU)
    assert next_phase(patient, [*rising, done(3, 0.505), done(4, 0.52)]) == PhaseRef(5, PhaseName.SAMPLE)


def test_without_a_stop_rule_a_plateau_goes_on() -> None:
    history = [BASELINES, *(done(n, 0.1) for n in range(1, 9))]
    assert next_phase(config(9), history) == PhaseRef(9, PhaseName.SAMPLE)


def test_a_tool_that_is_never_called_unasked_ends_the_run_before_another_training() -> None:
    tool: dict[str, Any] = {"rationalization": {"enabled": False}, "tools": {"python": {}}, "hints": {}}
    sampled = IterationHistory(2, frozenset({PhaseName.SAMPLE}), tool_rate=0.0)
    assert next_phase(config(**tool), [BASELINES, done(1), sampled]) == Stop(StopReason.NO_TOOL_USE)
    build = PhaseRef(2, PhaseName.BUILD)
    assert next_phase(config(**tool), [BASELINES, done(1), replace(sampled, tool_rate=0.1)]) == build
    longer = config(**{**tool, "hints": {"iterations": 2}})
    assert next_phase(longer, [BASELINES, done(1), sampled]) == build
    assert next_phase(config(**{**tool, "hints": None}), [BASELINES, done(1), sampled]) == build


def test_all_examples_solved_is_saturated_coverage() -> None:
    patient = config(9, stop=StopRule(patience=5))
    saturated = [BASELINES, done(1, solve_rate=1.0)]
    assert next_phase(patient, saturated) == Stop(StopReason.COVERAGE_SATURATED)
    sampled = config(9, stop=StopRule(patience=5), examples_per_iteration=10)
    assert next_phase(sampled, saturated) == PhaseRef(2, PhaseName.SAMPLE)


def test_sampling_is_certain_beside_an_evaluation_that_no_rule_reads() -> None:
    trained = IterationHistory(1, ALL - {PhaseName.EVALUATE}, kept=10, solve_rate=0.5)
    evaluation, following = PhaseRef(1, PhaseName.EVALUATE), PhaseRef(2, PhaseName.SAMPLE)
    assert next_in_any_case(config(), [BASELINES, trained], evaluation) == following
    patient = config(stop=StopRule(patience=2))
    assert next_in_any_case(patient, [BASELINES, trained], evaluation) == following
    impatient = config(stop=StopRule(patience=1))
    assert next_in_any_case(impatient, [BASELINES, trained], evaluation) is None
    aiming = config(stop=StopRule(target_accuracy=0.9))
    assert next_in_any_case(aiming, [BASELINES, trained], evaluation) is None
    assert next_in_any_case(config(1), [BASELINES, trained], evaluation) is None
    assert next_in_any_case(config(), [BASELINES, trained], PhaseRef(1, PhaseName.VERIFY_ADAPTER)) is None


def test_the_first_sampling_waits_for_the_baselines_where_a_spark_is_asked_for() -> None:
    baselines = PhaseRef(0, PhaseName.BASELINES)
    assert next_in_any_case(config(), [], baselines) is None
    careless = config(audits={"spark_level": None})
    assert next_in_any_case(careless, [], baselines) == PhaseRef(1, PhaseName.SAMPLE)


rates = st.floats(0, 1)
configs = st.builds(
    config,
    iterations=st.integers(1, 6),
    evaluation=st.builds(Evaluation, baselines=st.sampled_from([(), ("few_shot_cot",)])),
    training_set=st.builds(TrainingSetOptions, min_kept=st.integers(1, 4)),
    audits=st.sampled_from([{"spark_level": None}, {"spark_level": 0.2}]),
    stop=st.builds(
        StopRule,
        patience=st.none() | st.integers(1, 3),
        target_accuracy=st.none() | st.floats(0.05, 1),
    ),
)


@given(configs, st.lists(st.tuples(st.integers(0, 20), rates, rates), min_size=7, max_size=7))
def test_any_run_ends_never_repeats_a_phase_and_does_what_was_certain(
    settings: StarConfig, outcomes: list[tuple[int, float, float]]
) -> None:
    records: dict[int, IterationHistory] = {}
    seen: set[PhaseRef] = set()
    certain: PhaseRef | None = None
    for _ in range(1 + len(ITERATION_PHASES) * settings.iterations):
        history = list(records.values())
        step = next_phase(settings, history)
        assert step == next_phase(settings, list(reversed(history)))
        if not isinstance(step, PhaseRef):
            break
        assert step not in seen
        assert certain is None or step == certain
        certain = next_in_any_case(settings, history, step)
        seen.add(step)
        kept, accuracy, solve_rate = outcomes[step.iteration]
        known = records.get(step.iteration, IterationHistory(step.iteration))
        if step.name is PhaseName.SAMPLE:
            known = replace(known, solve_rate=solve_rate)
        elif step.name is PhaseName.BUILD:
            known = replace(known, kept=kept, diagnosis="so it went")
        elif step.name in (PhaseName.EVALUATE, PhaseName.BASELINES):
            known = replace(known, accuracy=accuracy, chance_p=solve_rate)
        records[step.iteration] = replace(known, done=known.done | {step.name})
    end = next_phase(settings, list(records.values()))
    assert not isinstance(end, PhaseRef)
    assert certain is None
    if isinstance(end, Pause) and end.reason is StopReason.INSUFFICIENT_KEPT:
        paused = records[max(records)]
        assert (paused.kept or 0) < settings.training_set.min_kept
        assert PhaseName.TRAIN not in paused.done
    if end == Stop(StopReason.COMPLETED_ITERATIONS):
        assert PhaseRef(settings.iterations, PhaseName.EVALUATE) in seen


CLOSING = (PhaseName.TRIAL, PhaseName.BASELINES)


@given(
    iterations=st.integers(1, 4),
    target=st.none() | st.floats(0.1, 1.0),
    accuracy=st.floats(0, 1),
    steps=st.integers(0, 40),
)
def test_a_run_ends_only_after_its_closing_phases_whatever_ends_it(
    iterations: int, target: float | None, accuracy: float, steps: int
) -> None:
    """Drives the loop for some steps, forgets nothing in between, and looks at what comes next."""
    chosen = config(iterations, stop=StopRule(target_accuracy=target))
    records = {0: BASELINES}
    asked: list[PhaseRef] = []
    with patch("star_engine.loop.closing_phases", return_value=CLOSING):
        for _ in range(steps + 6 * iterations + 2):
            step = next_phase(chosen, list(records.values()))
            if not isinstance(step, PhaseRef):
                break
            asked.append(step)
            known = records.get(step.iteration, IterationHistory(step.iteration, kept=5, accuracy=accuracy))
            records[step.iteration] = replace(known, done=known.done | {step.name})
        assert isinstance(step, Stop)
        assert next_phase(chosen, list(records.values())) == step
    assert [one.name for one in asked[-2:]] == list(CLOSING)
    assert {one.iteration for one in asked[-2:]} == {max(records)}
    assert len(asked) == len(set(asked))
