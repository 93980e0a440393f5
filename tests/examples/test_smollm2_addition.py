"""The paper's addition on a pretrained model: equal presentations, arms in turn, and the page of a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from examples.smollm2.addition import (
    CPU,
    DIRECT,
    FEW_SHOT,
    GOLD,
    LONGER,
    PRESET,
    STAR,
    WITHOUT,
    Scale,
    folder_of,
    report,
    run,
    settings,
    turns,
)
from star_engine.run_directory import RunDirectory

MODEL = Path("examples/addition/model")
SMALL = Scale((1, 2), shots=2, train=12, held_out=4, steps=2, iterations=1)


@pytest.mark.parametrize("arm", sorted(set(PRESET) - {FEW_SHOT}))
def test_every_model_is_shown_as_many_rows_but_for_the_one_that_has_those_of_all_iterations(arm: str) -> None:
    training, of_star = (settings(name, CPU, 0).training for name in (arm, STAR))
    shown, by_star = (one.schedule.model_dump()["steps"] * one.batch_size for one in (training, of_star))
    assert shown == by_star * (CPU.iterations if arm == LONGER else 1)
    assert (training.start_from, training.batch_tokens) == ("base", None)
    assert training.model_copy(update={"schedule": of_star.schedule}) == of_star


def test_baselines_come_first_and_the_arms_that_loop_take_turns() -> None:
    order = list(turns(CPU))
    assert [arm for arm, _ in order[:3]] == [FEW_SHOT, DIRECT, GOLD]
    assert order[3:-1] == [
        (arm, number) for number in range(1, CPU.iterations + 1) for arm in (STAR, WITHOUT)
    ]
    assert order[-1] == (LONGER, 1)


def test_a_small_run_ends_with_a_page_and_its_plot(tmp_path: Path) -> None:
    run(tmp_path, MODEL, SMALL, 0)
    page = tmp_path / "page.md"
    page.write_text("# A page\n\n## What came out\n\nOld.\n\n## What it shows\n\nThis.\n", encoding="utf-8")
    report(tmp_path, 0, page)
    text = page.read_text(encoding="utf-8")
    for name in ("base model, few-shot with working", DIRECT, LONGER, GOLD, f"{STAR}, iteration 1"):
        assert f"| {name} |" in text
    assert "Old." not in text
    assert text.endswith("## What it shows\n\nThis.\n")
    assert (tmp_path / "page.svg").stat().st_size > 10_000
    for arm in (DIRECT, GOLD, STAR, WITHOUT):
        metrics = RunDirectory(folder_of(tmp_path, arm, 0)).metrics()
        if "training" in metrics[1]:
            assert metrics[1]["training"]["examples_seen"] == SMALL.presentations(arm)
