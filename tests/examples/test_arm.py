"""What a run writes into its page."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from examples.arm import add_seeds, percents, seeds_of, seeds_typed, write_section


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
    parser = argparse.ArgumentParser()
    add_seeds(parser)
    chosen = parser.parse_args(typed)
    assert (seeds_of(chosen), seeds_typed(chosen)) == (seeds, again)
    assert seeds_of(parser.parse_args(again.split())) == seeds
