"""Texts of another dataset mixed into training: how many, which, and never counted as the job's own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from star_engine.config.star import StarConfig
from star_engine.run import Event, run_star
from star_engine.run_directory import OtherRun, RunDirectory
from star_engine.sampling.rationales import Route
from star_engine.tasks.examples import Example
from star_engine.tasks.kind import Kind
from star_engine.testing.fakes import RecordingTrainer, ScriptedSampler
from star_engine.training_set.mixing import mix_in, mixed_positions
from star_engine.training_set.rows import training_set_sha256
from star_engine.training_set.window import in_window
from tests.star_engine.capitals import config, examples, few_shot, pupil

TRAIN, HELD_OUT = examples()[:4], examples()[4:]
# The ids are those of the job's own examples: two datasets may well name their rows alike.
OTHERS = [
    Example(own.id, f"What is {n} + 1?", str(n + 1), solution=f"One more than {n}. The answer is {n + 1}.")
    for n, own in enumerate(examples())
]


def mixing(share: float = 0.5, **settings: Any) -> StarConfig:
    return config(Kind.EXACT, training_set={"mix": [{"dataset": "sums", "share": share}]}, **settings)


def run(settings: StarConfig, folder: Path, others: list[Example] = OTHERS) -> tuple[list[Event], Any]:
    sampler, trainer = ScriptedSampler(pupil(Kind.EXACT)), RecordingTrainer(pupil(Kind.EXACT))
    events = run_star(
        settings, TRAIN, HELD_OUT, few_shot(Kind.EXACT), sampler, trainer, folder, mixed={"sums": others}
    )
    return list(events), trainer


def built(events: list[Event]) -> dict[str, Any]:
    [event] = [one for one in events if one.phase == "build" and one.name == "phase_finished"]
    return dict(event.facts)


def test_half_of_what_is_trained_on_is_the_other_datasets_solutions(tmp_path: Path) -> None:
    events, trainer = run(mixing(), tmp_path)
    facts = built(events)
    assert facts["kept"] == {"generated": 2, "rationalized": 2, "mixed": 4}
    trained = {(row.prompt, row.completion) for row in trainer.runs[0].rows}
    mixed = {(f"Q: {one.question}\nA:", f" {one.solution}") for one in OTHERS}
    assert len(trained) == 8
    assert len(trained & mixed) == 4
    rows = RunDirectory(tmp_path).training_set(1)
    assert [row.key.route is Route.MIXED for row in rows] == [False] * 4 + [True] * 4
    assert training_set_sha256(rows) == facts["training_set_sha256"]


def test_mixed_rows_have_a_funnel_of_their_own_and_cover_no_example_of_the_job(tmp_path: Path) -> None:
    facts = built(run(mixing(), tmp_path)[0])
    assert facts["funnel"]["mixed"]["trained"] == 4
    assert facts["funnel"]["generated"]["trained"] + facts["funnel"]["rationalized"]["trained"] == 4
    assert facts["coverage"] == {"generated": 0.5, "rationalized": 0.5, "total": 1.0}


def test_too_few_own_rows_pause_the_run_however_many_are_mixed_in(tmp_path: Path) -> None:
    settings = mixing(0.6)
    options = settings.training_set.model_copy(update={"min_kept": 5})
    events, trainer = run(settings.model_copy(update={"training_set": options}), tmp_path)
    assert built(events)["kept"]["mixed"] == 6
    assert (events[-1].name, trainer.runs) == ("paused", [])


def test_the_draw_follows_from_seed_and_iteration() -> None:
    def drawn(iteration: int, seed: int = 0, share: float = 0.5) -> list[int]:
        return mixed_positions(mixing(share, seed=seed), iteration, 0, kept=20, count=1000)

    assert drawn(1) == drawn(1)
    assert len({tuple(one) for one in (drawn(1), drawn(2), drawn(1, seed=1))}) == 3
    assert [len(drawn(1, share=share)) for share in (0.1, 0.5, 0.9)] == [2, 20, 180]
    assert mixed_positions(mixing(), 1, 0, kept=20, count=7) == list(range(7))


def test_an_example_without_a_solution_is_trained_on_by_its_answer_alone() -> None:
    bare = replace(OTHERS[0], solution=None)
    [row] = mix_in(mixing(), few_shot(Kind.EXACT), 0, [bare]).rows
    assert (row.prompt, row.completion) == ("Q: What is 0 + 1?\nA:", " 1")


def test_a_solution_that_leads_elsewhere_is_dropped_with_its_verdict() -> None:
    wrong = replace(OTHERS[0], solution="The answer is 7.")
    found = mix_in(mixing(), few_shot(Kind.EXACT), 0, [wrong, OTHERS[1]])
    assert [one.reason for one in found.decisions] == ["wrong", "kept"]
    assert [row.key.example_id for row in found.rows] == [OTHERS[1].id]


def test_a_cap_on_own_rows_does_not_count_mixed_ones_of_the_same_id(tmp_path: Path) -> None:
    run(mixing(), tmp_path)
    rows = RunDirectory(tmp_path).training_set(1)
    options = mixing().training_set.model_copy(update={"max_per_example": 1})
    capped = mixing().model_copy(update={"training_set": options})
    assert in_window(capped, [rows, rows]) == tuple(rows)


def test_a_run_whose_other_dataset_has_changed_is_another_run(tmp_path: Path) -> None:
    run(mixing(), tmp_path)
    with pytest.raises(OtherRun, match="other data"):
        run(mixing(), tmp_path, OTHERS[1:])
    with pytest.raises(ValueError, match=r"training_set\.mix names 'sums'"):
        run(mixing(), tmp_path, [])


@pytest.mark.parametrize(
    ("mix", "fix"),
    [
        ([("a", 0.1), ("a", 0.1)], "give it one share"),
        ([("a", 0.5), ("b", 0.5)], "leave room for the job's own rows"),
    ],
)
def test_shares_that_cannot_be_are_refused(mix: list[tuple[str, float]], fix: str) -> None:
    entries = [{"dataset": name, "share": share} for name, share in mix]
    with pytest.raises(ValidationError, match=fix):
        config(Kind.EXACT, training_set={"mix": entries})


def test_a_job_without_gold_answers_mixes_none_in() -> None:
    vote = {"samples_per_example": 4, "temperature": 0.7}
    with pytest.raises(ValidationError, match=r"leave training_set\.mix empty"):
        mixing(labels="majority_vote", generation=vote, rationalization={"enabled": False})
