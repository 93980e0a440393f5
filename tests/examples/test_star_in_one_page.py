"""The page that shows the algorithm trains on what run_star trains on."""

from __future__ import annotations

from pathlib import Path

from examples.star_in_one_page import star
from star_engine.run_directory import RunDirectory
from star_engine.testing.fakes import RecordingTrainer, ScriptedSampler, addition_pupil
from star_engine.training_set.rows import training_set_sha256
from tests.star_engine.addition import ADDITION
from tests.star_engine.test_run import HELD_OUT, TRAIN, Bench, config

PROJECT = Path(__file__).parents[2]


def test_the_page_trains_on_the_rows_of_run_star(tmp_path: Path) -> None:
    settings = config(iterations=3, examples_per_iteration=20)
    list(Bench(tmp_path / "run").run(settings))
    record = RunDirectory(tmp_path / "run")
    sampler, trainer = ScriptedSampler(addition_pupil()), RecordingTrainer(addition_pupil())
    page = list(star(settings, TRAIN, HELD_OUT, ADDITION, sampler, trainer, tmp_path))
    assert len(page) == 3
    for number, (tries, rows, accuracy) in enumerate(page, start=1):
        assert training_set_sha256(rows) == training_set_sha256(record.training_set(number))
        assert {one.key: one.text for one in tries} == {
            one.key: one.text for one in record.rationales(number)
        }
        assert accuracy == record.metrics()[number]["accuracy"]


def test_the_page_is_one_page() -> None:
    lines = (PROJECT / "examples" / "star_in_one_page.py").read_text().splitlines()
    assert len(lines) <= 70
