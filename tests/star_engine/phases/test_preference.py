"""Iterative RPO: the generator learns fresh pairs in each iteration, from the one before, killed or not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from star_engine.adapters.layout import WEIGHTS, file_sha256
from star_engine.config.pairs import PairRules
from star_engine.config.star import StarConfig
from star_engine.loop import (
    PREFERENCE_PHASES,
    IterationHistory,
    Pause,
    PhaseName,
    StopReason,
    next_phase,
    phases_of,
)
from star_engine.protocols import SampleRequest
from star_engine.run_directory import RunDirectory
from star_engine.run_pairs import read_pairs
from star_engine.sampling.labels import OUTVOTED
from star_engine.sampling.rationales import Rationale, RationaleKey, Route
from star_engine.testing.fakes import addition_pupil
from star_engine.training_set.pairs import Tried, draw_voted
from tests.star_engine.test_run import Bench, config, finished

pupil = addition_pupil()
master = addition_pupil(known=frozenset({1, 2, 3}))


def now_and_then(request: SampleRequest, adapter: Path | None) -> str:
    """As the pupil that never learns, and right where the seed is divisible by three."""
    lucky = request.seed is not None and request.seed % 3 == 0
    return (master if lucky else pupil)(request, None)


def settings(**changes: Any) -> StarConfig:
    return config(
        **{
            "generation": {"temperature": 0.7, "samples_per_example": 4},
            "rationalization": {"enabled": False},
            "training": {
                "schedule": {"kind": "fixed", "steps": 4},
                "start_from": "previous",
                "checkpoint_every": 2,
                "lora": {"rank": 2},
            },
            "preference": {},
            **changes,
        }
    )


def test_each_iteration_learns_its_own_pairs_from_the_model_of_the_one_before(tmp_path: Path) -> None:
    bench = Bench(tmp_path, now_and_then)
    events = list(bench.run(settings()))
    assert finished(events)[1:] == [(n, str(name)) for n in (1, 2) for name in PREFERENCE_PHASES]
    directory = RunDirectory(tmp_path)
    for number, run in zip((1, 2), bench.trainer.runs, strict=True):
        rows = read_pairs(directory, number)
        kept = {row.key: row.completion for row in directory.training_set(number)}
        assert all(row.chosen_text == kept[row.chosen.key] for row in rows)
        assert {row.chosen.iteration for row in rows} | {row.rejected.iteration for row in rows} == {number}
        assert all(row.is_scored and not row.held_out for row in rows)
        learned = [text for row in rows for text in (row.chosen_text, row.rejected_text)]
        assert [text.completion for text in run.rows] == learned
        assert run.start == (directory.adapter(1) if number == 2 else None)


def test_a_run_that_is_killed_again_and_again_ends_in_the_same_bytes(tmp_path: Path) -> None:
    list(Bench(tmp_path / "whole", now_and_then).run(settings(iterations=1)))
    killed = Bench(tmp_path / "killed", now_and_then)
    kills = 0
    while True:
        killed.restart(fail_after=41)
        try:
            list(killed.run(settings(iterations=1)))
        except KeyboardInterrupt:
            kills += 1
            continue
        break
    assert kills > 2
    whole, again = (RunDirectory(tmp_path / name) for name in ("whole", "killed"))
    assert read_pairs(whole, 1) == read_pairs(again, 1) != []
    assert len({file_sha256(one.adapter(1) / WEIGHTS) for one in (whole, again)}) == 1


def test_an_iteration_without_a_pair_pauses_and_says_why() -> None:
    asked = settings()
    begun = IterationHistory(
        1,
        frozenset({PhaseName.SAMPLE, PhaseName.BUILD, PhaseName.PAIRS}),
        kept=9,
        pairs=0,
        diagnosis="No question has both.",
    )
    step = next_phase(asked, [IterationHistory(0, frozenset(phases_of(asked, 0))), begun])
    assert step == Pause(StopReason.INSUFFICIENT_KEPT, "No question has both.")


@pytest.mark.parametrize(
    ("changes", "fix"),
    [
        ({"trained_verifier": {}}, "trained_verifier to null"),
        ({"training_set": {"window": 2}}, "window to 1"),
        ({"generation": {"temperature": 0.7}}, "samples_per_example to 2"),
    ],
)
def test_settings_under_which_there_is_nothing_to_pair_are_refused(changes: dict[str, Any], fix: str) -> None:
    with pytest.raises(ValidationError, match=fix):
        settings(**changes)


def voted(sample: int, answer: str, verdict: str) -> Tried:
    key = RationaleKey("a", Route.GENERATED, sample)
    return Tried(1, Rationale(key, f"Try {sample} says {answer}", verdict, answer, "last", 3, 4, "stop"))


def test_the_answer_of_most_tries_is_paired_with_that_of_fewest_and_weighs_its_lead() -> None:
    tries = [
        *(voted(n, "7", "correct") for n in range(5)),
        *(voted(n, "8", OUTVOTED) for n in (5, 6)),
        voted(7, "9", OUTVOTED),
    ]
    every = {one.key.key for one in tries}
    pairs = draw_voted(["a"], tries, every, PairRules(per_example=3), 0).pairs
    assert len(pairs) == 3
    assert {pair.rejected.rationale.extracted for pair in pairs} == {"9"}
    assert {pair.weight for pair in pairs} == {0.5}


def test_an_answer_that_is_written_in_two_ways_is_one_answer_of_a_vote() -> None:
    written = [(5, "1,000"), (6, "1000"), (7, "1000.0")]
    tries = [
        *(voted(n, "7", "correct") for n in range(4)),
        *(replace(voted(n, text, OUTVOTED), answer="1000") for n, text in written),
        *(replace(voted(n, "9", OUTVOTED), answer="9") for n in (8, 9)),
    ]
    every = {one.key.key for one in tries}
    pairs = draw_voted(["a"], tries, every, PairRules(per_example=3), 0).pairs
    assert {pair.rejected.answer for pair in pairs} == {"9"}


def test_a_right_try_that_the_filters_dropped_is_not_paired_and_keeps_its_vote() -> None:
    tries = [
        *(voted(n, "7", "correct") for n in range(5)),
        *(voted(n, "8", OUTVOTED) for n in range(5, 8)),
    ]
    [first, *_] = tries
    pairs = draw_voted(["a"], tries, {first.key.key}, PairRules(per_example=3), 0).pairs
    assert {pair.chosen for pair in pairs} == {first}
    assert {pair.weight for pair in pairs} == {0.25}  # 5 votes against 3 of 8
