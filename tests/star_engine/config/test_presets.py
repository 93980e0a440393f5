from collections.abc import Callable

import pytest

from star_engine.config.presets import (
    PRESETS,
    direct_fine_tune,
    expert_iteration,
    few_shot_cot,
    few_shot_direct,
    laid_beside,
    laid_over,
    quick,
    rest_em,
    rft,
    star,
    star_released_code,
    star_without_rationalization,
    v_star,
)
from star_engine.config.star import StarConfig
from star_engine.config.training_set import Source, TrainingSetOptions
from star_engine.data.selection import steps_in, training_steps
from star_engine.evaluation.report import STAR, method_of
from star_engine.loop import (
    VERIFIER_PHASES,
    IterationHistory,
    PhaseName,
    PhaseRef,
    Stop,
    StopReason,
    closing_phases,
    next_phase,
    phases_of,
)
from star_engine.tasks.hints import HintForm
from star_engine.tasks.kind import Kind


@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize("name", sorted(PRESETS))
def test_every_preset_is_a_valid_config_of_its_kind(name: str, kind: Kind) -> None:
    config = PRESETS[name](kind)
    assert config.kind is kind
    assert StarConfig.model_validate_json(config.model_dump_json()) == config
    assert (PRESETS[name].__doc__ or "").count("arXiv") + (PRESETS[name].__doc__ or "").count("section") > 0


def test_star_follows_the_paper() -> None:
    for kind in Kind:
        config = star(kind)
        assert config.generation.temperature == 0
        assert config.generation.samples_per_example == 1
        assert config.rationalization.enabled
        assert config.training.start_from == "base"
    assert steps_in(star(Kind.NUMERIC).training.schedule, 36) == 7912
    assert steps_in(star(Kind.SCRATCHPAD).training.schedule, 16) == 600
    assert star(Kind.SCRATCHPAD).examples_per_iteration == 10_000
    assert star(Kind.CHOICE).training_set.few_shot_in_prompt


@pytest.mark.parametrize("preset", [star, star_without_rationalization, direct_fine_tune, rft, rest_em])
def test_a_step_is_the_papers_8_sequences_of_1024_tokens_after_100_of_warm_up(
    preset: Callable[[Kind], StarConfig],
) -> None:
    for kind in Kind:
        training = preset(kind).training
        assert (training.batch_tokens, training.warmup_steps, training.max_length) == (8192, 100, 1024)


def test_the_ablation_differs_in_rationalization_and_in_the_schedule_of_addition_alone() -> None:
    for kind in Kind:
        full, ablated = star(kind).model_dump(), star_without_rationalization(kind).model_dump()
        assert not ablated.pop("rationalization")["enabled"]
        del full["rationalization"]
        if kind is Kind.SCRATCHPAD:
            schedule = ablated["training"].pop("schedule")
            assert (schedule["kind"], schedule["start"], schedule["factor"]) == ("geometric", 40, 1.2)
            del full["training"]["schedule"]
        assert full == ablated


def test_direct_fine_tuning_takes_5000_steps_on_10000_additions_and_fewer_on_fewer() -> None:
    direct = direct_fine_tune(Kind.SCRATCHPAD)
    assert direct.examples_per_iteration == 10_000
    row = 28  # tokens of a question of 1 to 5 digits and its answer, as characters with spaces
    assert training_steps(direct.training, 1, 10_000, 10_000 * row) == 5000
    assert training_steps(direct.training, 1, 200, 200 * row) == 103


def test_quick_is_small_work_for_small_data() -> None:
    for kind in Kind:
        config = quick(kind)
        steps = [training_steps(config.training, n, 200, None) for n in range(1, config.iterations + 1)]
        assert steps == [75, 75, 75]
        assert config.rationalization == star(kind).rationalization


def test_a_batch_size_laid_over_a_preset_ends_the_counting_in_tokens() -> None:
    preset = star(Kind.NUMERIC).model_dump(mode="json")
    for over, tokens in (({"batch_size": 4}, None), ({"batch_tokens": 512}, 512), ({}, 8192)):
        merged = StarConfig.model_validate(laid_over(preset, {"training": over}))
        assert merged.training.batch_tokens == tokens


def test_a_baseline_beside_a_job_trains_as_the_job_does() -> None:
    own = laid_over(star(Kind.SCRATCHPAD).model_dump(mode="json"), {"training": {"schedule": {"start": 3}}})
    config = StarConfig.model_validate(own)
    beside = laid_beside(config, "star-without-rationalization")
    assert beside["training"] == own["training"]
    paper = laid_beside(star(Kind.SCRATCHPAD), "star-without-rationalization")
    assert paper["training"]["schedule"]["kind"] == "geometric"


@pytest.mark.parametrize("preset", ["direct-fine-tune", "gold-rationale-fine-tune"])
@pytest.mark.parametrize("name", sorted(PRESETS.keys() - {"star-majority-vote"}))
def test_fine_tuning_on_the_datasets_texts_can_be_laid_beside_every_preset(name: str, preset: str) -> None:
    job = PRESETS[name](Kind.NUMERIC)
    beside = StarConfig.model_validate(laid_beside(job, preset))
    assert beside.training_set.source is PRESETS[preset](Kind.NUMERIC).training_set.source
    assert beside.evaluation.baselines == job.evaluation.baselines
    assert not beside.selection.recorded
    assert (beside.controller, beside.preference, beside.self_distillation) == (None, None, None)
    assert beside.trained_verifier is None


@pytest.mark.parametrize("preset", ["star-without-rationalization", "rft", "quick"])
@pytest.mark.parametrize("name", sorted(PRESETS.keys()))
def test_a_baseline_beside_another_method_is_what_its_name_says(name: str, preset: str) -> None:
    beside = StarConfig.model_validate(laid_beside(PRESETS[name](Kind.NUMERIC), preset))
    assert method_of(beside) == STAR


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_what_a_preset_is_about_is_the_baselines_own_whatever_the_job_does(preset: str) -> None:
    """Its mechanism and where a training starts, wherever the job's amounts allow that method."""
    own = PRESETS[preset](Kind.NUMERIC)
    counted = own.selection.recorded or own.controller is not None  # in steps, not in epochs
    about = ["selection", "controller", "preference", "self_distillation", "trained_verifier"]
    for name in PRESETS.keys() - {"star-majority-vote"}:
        job = PRESETS[name](Kind.NUMERIC)
        if counted and job.training.schedule.kind == "epochs":
            continue
        beside = StarConfig.model_validate(laid_beside(job, preset))
        assert {one: getattr(beside, one) for one in about} == {one: getattr(own, one) for one in about}
        if own.training_set.source is Source.RATIONALES:
            assert beside.training.start_from == own.training.start_from
            assert beside.rationalization.enabled == own.rationalization.enabled


def test_a_baseline_that_trains_a_verifier_ranks_what_the_job_measures_with_it() -> None:
    experts = laid_beside(expert_iteration(Kind.NUMERIC), "v-star")
    assert (experts["evaluation"]["test_time"]["scorer"], experts["evaluation"]["test_time"]["samples"]) == (
        "verifier",
        32,
    )


@pytest.mark.parametrize(
    ("preset", "iterations", "tries"), [("rft", 1, 48), ("rest-em", 3, 16), ("expert-iteration", 4, 12)]
)
def test_beside_a_verifier_baselines_sample_as_many_tries_of_a_question_in_all(
    preset: str, iterations: int, tries: int
) -> None:
    beside = laid_beside(v_star(Kind.NUMERIC), preset)
    assert (beside["iterations"], beside["generation"]["samples_per_example"]) == (iterations, tries)
    assert iterations * tries == 3 * 16
    own = PRESETS[preset](Kind.NUMERIC).generation.samples_per_example
    assert laid_beside(star(Kind.NUMERIC), preset)["generation"]["samples_per_example"] == own


def test_the_sampling_presets_sample_and_do_not_rationalize() -> None:
    assert rft(Kind.NUMERIC).generation.samples_per_example == 100
    assert rft(Kind.NUMERIC).iterations == 1
    assert rest_em(Kind.NUMERIC).training_set.max_per_example == 10
    assert not rft(Kind.NUMERIC).rationalization.enabled
    assert not rest_em(Kind.NUMERIC).rationalization.enabled
    experts = expert_iteration(Kind.NUMERIC)
    assert (experts.generation.samples_per_example, experts.training_set.window) == (96, "all")
    assert experts.training.start_from == "base"
    assert phases_of(experts, 0) == (PhaseName.BASELINES, PhaseName.TEST_TIME)


def test_the_few_shot_presets_measure_one_baseline_and_train_nothing() -> None:
    for preset, name in ((few_shot_direct, "few_shot_direct"), (few_shot_cot, "few_shot_cot")):
        config = preset(Kind.CHOICE)
        assert config.evaluation.baselines == (name,)
        assert next_phase(config, []) == PhaseRef(0, PhaseName.BASELINES)
        measured = IterationHistory(0, frozenset({PhaseName.BASELINES}), accuracy=0.4)
        assert next_phase(config, [measured]) == Stop(StopReason.COMPLETED_ITERATIONS)


def test_the_released_code_is_as_its_defaults_are() -> None:
    for kind in Kind:
        config = star_released_code(kind)
        training = config.training
        steps = [training_steps(training, n, 800, 8 * 1536 * 100) for n in (1, 2, 6)]
        assert steps == [100, 120, 200]  # 1.0 + 0.2 (n-1) epochs
        assert config.training_set == TrainingSetOptions(filters=(), dedupe=False)
        assert (training.loss, training.warmup_steps, config.generation.max_tokens) == ("all", 100, 96)
        assert not config.rationalization.enabled
        assert (config.iterations, config.examples_per_iteration) == (63, 10_000)
        assert config.stop.patience is None
        assert config.rationalization.hint == (HintForm.FULL_SOLUTION if kind is Kind.NUMERIC else None)


def test_v_star_learns_from_all_iterations_and_ranks_with_its_own_verifier() -> None:
    config = v_star(Kind.NUMERIC)
    assert (config.generation.samples_per_example, config.training_set.window) == (16, "all")
    assert not config.rationalization.enabled
    assert closing_phases(config) == (*VERIFIER_PHASES, PhaseName.TEST_TIME)
    assert config.evaluation.test_time is not None
    assert config.evaluation.test_time.ranker == "verifier"
