import pytest

from star_engine.config.presets import (
    PRESETS,
    few_shot_cot,
    few_shot_direct,
    rest_em,
    rft,
    star,
    star_released_code,
    star_without_rationalization,
)
from star_engine.config.star import StarConfig
from star_engine.data.selection import steps_in
from star_engine.loop import IterationHistory, PhaseName, PhaseRef, Stop, StopReason, next_phase
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


def test_the_ablation_differs_in_rationalization_alone() -> None:
    for kind in Kind:
        full, ablated = star(kind).model_dump(), star_without_rationalization(kind).model_dump()
        assert not ablated.pop("rationalization")["enabled"]
        del full["rationalization"]
        assert full == ablated


def test_the_sampling_presets_sample_and_do_not_rationalize() -> None:
    assert rft(Kind.NUMERIC).generation.samples_per_example == 100
    assert rft(Kind.NUMERIC).iterations == 1
    assert rest_em(Kind.NUMERIC).training_set.max_per_example == 10
    assert not rft(Kind.NUMERIC).rationalization.enabled
    assert not rest_em(Kind.NUMERIC).rationalization.enabled


def test_the_few_shot_presets_measure_one_baseline_and_train_nothing() -> None:
    for preset, name in ((few_shot_direct, "few_shot_direct"), (few_shot_cot, "few_shot_cot")):
        config = preset(Kind.CHOICE)
        assert config.evaluation.baselines == (name,)
        assert next_phase(config, []) == PhaseRef(0, PhaseName.BASELINES)
        measured = IterationHistory(0, frozenset({PhaseName.BASELINES}), accuracy=0.4)
        assert next_phase(config, [measured]) == Stop(StopReason.COMPLETED_ITERATIONS)


def test_the_released_code_counts_epochs_and_filters_nothing() -> None:
    for kind in Kind:
        config = star_released_code(kind)
        schedule = config.training.schedule
        assert [steps_in(schedule, n, rows=800, batch_size=config.training.batch_size) for n in (1, 9)] == [
            100
        ] * 2
        assert config.training_set.filters == ()
        assert config.training.loss == "all"
        solution = HintForm.FULL_SOLUTION if kind is Kind.NUMERIC else None
        assert config.rationalization == star(kind).rationalization.model_copy(update={"hint": solution})
