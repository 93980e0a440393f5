"""`rationalization.min_failures`: the hint is for what has failed in several iterations."""

from __future__ import annotations

from pathlib import Path

import pytest

from star_engine.config.star import StarConfig
from star_engine.run_directory import RunDirectory
from star_engine.sampling.rationales import Route
from tests.star_engine.test_run import TRAIN, Bench, config
from tests.wavering import wavering


def settings(least: int, **changes: object) -> StarConfig:
    return config(
        iterations=2,
        rationalization={"min_failures": least},
        training_set={"filters": []},
        audits={"spark_level": None},
        **changes,
    )


def hinted(directory: Path, iteration: int) -> set[str]:
    tries = RunDirectory(directory).rationales(iteration)
    return {one.key.example_id for one in tries if one.key.route is Route.RATIONALIZED}


def failed(directory: Path, iteration: int) -> set[str]:
    tries = RunDirectory(directory).rationales(iteration)
    right = {
        one.key.example_id for one in tries if one.verdict == "correct" and one.key.route is Route.GENERATED
    }
    return {one.key.example_id for one in tries} - right


@pytest.mark.parametrize("least", [1, 2])
def test_an_example_is_rationalized_once_it_has_failed_so_often_in_a_row(tmp_path: Path, least: int) -> None:
    list(Bench(tmp_path, wavering(right=0.4)).run(settings(least)))
    in_row: dict[str, int] = {}
    for iteration in (1, 2):
        wrong = failed(tmp_path, iteration)
        in_row = {name: in_row.get(name, 0) + 1 for name in wrong}
        assert hinted(tmp_path, iteration) == {name for name, count in in_row.items() if count >= least}
    assert hinted(tmp_path, least), "there are examples that fail so often"
    assert not any(hinted(tmp_path, iteration) for iteration in range(1, least))


def test_what_an_iteration_asked_is_recorded_where_the_hint_hangs_on_it(tmp_path: Path) -> None:
    list(Bench(tmp_path).run(settings(2)))
    selected = RunDirectory(tmp_path).selection(1)
    assert selected is not None
    assert len(selected.used_positions) == len(TRAIN)
    assert not settings(1).records_selection
