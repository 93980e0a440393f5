"""What is said of the paper's values and ours is what the presets hold."""

from pathlib import Path

from star_engine.config.fidelity import DEVIATIONS, deviation_table
from star_engine.config.presets import PRESETS, star
from star_engine.tasks.kind import Kind

PAGE = (Path(__file__).parents[3] / "docs" / "fidelity.md").read_text()


def test_the_page_on_fidelity_holds_the_table_of_the_model_cards() -> None:
    assert f"\n{deviation_table()}\n" in PAGE
    assert all(one.what in deviation_table(code=False) for one in DEVIATIONS)


def test_the_page_names_every_preset_that_trains() -> None:
    trains = {name for name, preset in PRESETS.items() if not preset(Kind.NUMERIC).baselines_only}
    assert {name for name in trains if f"`{name}`" not in PAGE} == set()


def test_our_column_is_what_the_preset_star_sets() -> None:
    ours = {one.what: one.ours for one in DEVIATIONS}
    config = star(Kind.NUMERIC)
    assert f"{config.training.batch_tokens:,} tokens" in ours["step"]
    assert f"rank {config.training.lora.rank}" in ours["weights that learn"]
    assert config.training.learning_rate == float(ours["optimizer"].split()[2].strip(","))
    assert f"{config.generation.max_tokens} tokens" in ours["decoding"]
    assert all(name in ours["what is kept"] for name in star(Kind.SCRATCHPAD).training_set.filters)
