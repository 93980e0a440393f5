"""What a run writes into its page."""

from __future__ import annotations

from pathlib import Path

import pytest

from examples.arm import (
    experiment_parser,
    folder_name,
    measured_iterations,
    percents,
    publish,
    seeds_of,
    seeds_typed,
    write_section,
)


def test_figures_are_replaced_and_what_stands_around_them_is_kept(tmp_path: Path) -> None:
    page = tmp_path / "run.md"
    page.write_text("# A run\n\n## Claims\n\nIt works.\n")
    write_section(page, "| old |\n")
    page.write_text(page.read_text() + "\n## What it shows\n\nNothing.\n")
    write_section(page, "| new |")
    assert page.read_text() == (
        "# A run\n\n## Claims\n\nIt works.\n\n## What came out\n\n| new |\n\n## What it shows\n\nNothing.\n"
    )


def test_a_page_that_is_not_there_is_begun(tmp_path: Path) -> None:
    write_section(tmp_path / "run.md", "| new |")
    assert (tmp_path / "run.md").read_text() == "## What came out\n\n| new |\n"


def test_a_missing_share_is_a_dash() -> None:
    assert percents([0.0, None, 0.456, 1.0]) == "0 - 46 100"


def test_figures_are_printed_and_put_into_the_page_that_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    publish(iter(["| a |", "| b |"]), None)
    publish(["| c |"], tmp_path / "run.md")
    assert capsys.readouterr().out == "| a |\n| b |\n| c |\n"
    assert (tmp_path / "run.md").read_text() == "## What came out\n\n| c |\n"


def test_an_arm_has_a_folder_without_spaces_and_commas() -> None:
    assert folder_name("without, 4 tries at T 0.7") == "without--4-tries-at-T-0-7"


def test_base_model_and_unfinished_iterations_are_not_among_the_measured() -> None:
    metrics = {3: {"solve_rate": 0.5}, 2: {"accuracy": 0.4}, 0: {"accuracy": 0.1}, 1: {"accuracy": 0.3}}
    assert list(measured_iterations(metrics).items()) == [(1, {"accuracy": 0.3}), (2, {"accuracy": 0.4})]


@pytest.mark.parametrize(
    ("typed", "seeds", "again"),
    [
        ([], [0, 1, 2], "--seeds 3"),
        (["--seeds", "2"], [0, 1], "--seeds 2"),
        (["--seed", "2"], [2], "--seed 2"),
        (["--seed", "4", "--seed", "0", "--seed", "4"], [0, 4], "--seed 0 --seed 4"),
    ],
)
def test_the_first_seeds_are_run_or_those_that_are_named(
    typed: list[str], seeds: list[int], again: str
) -> None:
    parser = experiment_parser("An experiment.", Path("out"))
    chosen = parser.parse_args(typed)
    assert (seeds_of(chosen), seeds_typed(chosen)) == (seeds, again)
    assert seeds_of(parser.parse_args(again.split())) == seeds
