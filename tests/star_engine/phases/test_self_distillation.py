"""The model's own tries, taught by itself with the answer in view: right or wrong, and the control."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from star_engine.config.star import StarConfig
from star_engine.protocols import DistilledText, TrainingJob
from star_engine.run_directory import RunDirectory
from star_engine.sampling.rationales import Rationale, RationaleKey, Route
from star_engine.tasks.examples import Example
from star_engine.training_set.taught import taught_texts, with_other_answers
from tests.star_engine.addition import ADDITION
from tests.star_engine.test_run import TRAIN, Bench, config


def settings(**changes: Any) -> StarConfig:
    return config(
        **{"rationalization": {"enabled": False}, "iterations": 1, "self_distillation": {}, **changes}
    )


def taught(directory: Path, asked: StarConfig) -> list[TrainingJob]:
    bench = Bench(directory)
    jobs: list[TrainingJob] = []
    train = bench.trainer.train

    def remember(job: TrainingJob) -> Any:
        jobs.append(job)
        return train(job)

    bench.trainer.train = remember  # type: ignore[method-assign]
    assert list(bench.run(asked))[-1].name == "stopped"
    return jobs


def test_every_try_is_learned_right_or_wrong_behind_a_prompt_that_shows_no_answer(tmp_path: Path) -> None:
    [job] = taught(tmp_path, settings())
    tries = RunDirectory(tmp_path).rationales(1)
    assert len(job.data) == len(tries) == len(TRAIN)
    assert {one.verdict for one in tries} == {"correct", "wrong"}
    answers = [one.answer for one in TRAIN]
    for one, answer in zip(job.data, answers, strict=True):
        assert isinstance(one, DistilledText)
        assert one.student.completion == one.teacher.completion
        assert one.teacher.prompt == f"{one.student.prompt} {answer}"


def test_the_control_shows_another_answer_and_none_shows_none(tmp_path: Path) -> None:
    [wrong] = taught(tmp_path / "wrong", settings(self_distillation={"hint": "wrong"}))
    [none] = taught(tmp_path / "none", settings(self_distillation={"hint": "none"}))
    for one, other, example in zip(wrong.data, none.data, TRAIN, strict=True):
        assert isinstance(one, DistilledText)
        assert isinstance(other, DistilledText)
        assert one.teacher.prompt.startswith(f"{one.student.prompt} ")
        assert one.teacher.prompt != f"{one.student.prompt} {example.answer}"
        assert other.teacher == other.student


def test_another_answer_is_one_of_the_same_group_where_there_is_one() -> None:
    examples = [
        Example(str(n), "?", answer, group=group)
        for n, (answer, group) in enumerate([("1", "a"), ("2", "b"), ("1", "a"), ("3", "a"), ("2", "b")])
    ]
    assert [one.answer for one in with_other_answers(examples)] == ["3", "1", "3", "1", "1"]
    same = [Example("0", "?", "1"), Example("1", "?", "1")]
    assert with_other_answers(same) == same


def test_another_letter_names_a_choice_of_the_question_that_shows_it() -> None:
    two, five = ("yes", "no"), ("1", "2", "3", "4", "5")
    examples = [
        Example("0", "?", "a", choices=two),
        Example("1", "?", "e", choices=five),
        Example("2", "?", "b", choices=two),
    ]
    assert [one.answer for one in with_other_answers(examples)] == ["b", "b", "a"]


def test_tries_that_were_all_cut_off_say_what_to_change() -> None:
    example = Example("0", "1 + 1?", "2")
    cut = Rationale(RationaleKey("0", Route.GENERATED, 0), "It is", "unparsed", None, "", 3, 4, "length")
    with pytest.raises(ValueError, match=r"raise generation\.max_tokens above"):
        taught_texts(settings(), ADDITION, [example], [cut], "right")


def test_what_was_asked_beyond_the_rows_needed_is_not_learned(tmp_path: Path) -> None:
    asked = settings(selection={"order": "adaptive", "rows": 1})
    [job] = taught(tmp_path, asked)
    selected = RunDirectory(tmp_path).selection(1)
    assert selected is not None
    assert selected.surplus
    assert len(job.data) == len(selected.used_positions)


def test_without_a_right_try_it_learns_all_the_same(tmp_path: Path) -> None:
    [job] = taught(tmp_path, settings(training_set={"min_kept": 1000}))
    assert len(job.data) == len(TRAIN)


@pytest.mark.parametrize(
    ("changes", "fix"),
    [
        ({"training_set": {"window": "all"}}, "window to 1"),
        (
            {"preference": {}, "generation": {"temperature": 0.7, "samples_per_example": 2}},
            "preference to null",
        ),
        (
            {"labels": "majority_vote", "generation": {"temperature": 0.7, "samples_per_example": 4}},
            "labels to gold",
        ),
    ],
)
def test_settings_that_leave_nothing_to_teach_are_refused(changes: dict[str, Any], fix: str) -> None:
    with pytest.raises(ValidationError, match=fix):
        settings(**changes)
