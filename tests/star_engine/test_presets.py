import pytest

from star_engine.config import Kind, StarConfig
from star_engine.presets import PRESETS, rest_em, rft, star, star_without_rationalization
from star_engine.schedule import steps_in


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
