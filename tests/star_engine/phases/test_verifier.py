"""A verifier: pairs are drawn once, its reference is recorded, and it ranks answers, killed or not."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from star_engine.adapters.layout import WEIGHTS, check_layout, file_sha256
from star_engine.adapters.roles import AdapterRole
from star_engine.adapters.verifier import judge_verifier
from star_engine.config.evaluation import TestTime
from star_engine.config.star import StarConfig
from star_engine.evaluation.candidates import GENERATOR, REFERENCE, VERIFIER, Scored
from star_engine.loop import VERIFIER_PHASES, IterationHistory, PhaseName, PhaseRef, next_phase, phases_of
from star_engine.phases.verify_verifier import _margin
from star_engine.protocols import AdapterProbe, BadAdapter, PreferencePair, SampleRequest, Score
from star_engine.run_candidates import CandidateFiles
from star_engine.run_directory import RunDirectory
from star_engine.run_pairs import read_pairs
from star_engine.sampling.rationales import RationaleKey, Route
from star_engine.testing.fakes import addition_pupil
from star_engine.training_set.pairs import PairRow, TryKey, pairs_sha256
from tests.star_engine.test_run import Bench, config, finished

pupil = addition_pupil()
master = addition_pupil(known=frozenset({1, 2, 3}))
RANKED = {"best_of/verifier", "best_of/verifier_per_token", "best_of/verifier_reward"}


def now_and_then(request: SampleRequest, adapter: Path | None) -> str:
    """As the pupil that never learns, and right where the seed is divisible by three."""
    lucky = request.seed is not None and request.seed % 3 == 0
    return (master if lucky else pupil)(request, None)


def settings(**changes: Any) -> StarConfig:
    verifier = {"held_out": 0.3, "schedule": {"kind": "fixed", "steps": 5}, "batch_size": 4}
    return config(
        **{
            "generation": {"temperature": 0.7, "samples_per_example": 4},
            "rationalization": {"enabled": False},
            "evaluation": {"test_time": {"samples": 4, "scorer": "verifier"}},
            "trained_verifier": verifier | changes.pop("trained_verifier", {}),
            **changes,
        }
    )


def test_a_verifier_is_trained_at_the_end_and_ranks_the_last_adapters_answers(tmp_path: Path) -> None:
    bench = Bench(tmp_path, now_and_then)
    events = list(bench.run(settings()))
    assert finished(events)[-4:] == [(2, str(name)) for name in (*VERIFIER_PHASES, PhaseName.TEST_TIME)]
    directory = RunDirectory(tmp_path)
    rows = read_pairs(directory, 2)
    assert {row.chosen.iteration for row in rows} == {1, 2}
    for row in rows:
        assert row.chosen.key.example_id == row.rejected.key.example_id
        assert row.chosen_text != row.rejected_text
        assert row.is_scored
    metrics = directory.metrics()[2]
    held_out = sum(row.held_out for row in rows)
    assert 0 < held_out < len(rows)
    assert (metrics["pairs"]["count"], metrics["pairs"]["held_out"]) == (len(rows), held_out)
    assert metrics["pairs"]["sha256"] == pairs_sha256(rows)
    learned = bench.trainer.runs[-1]
    assert len(learned.rows) == 2 * (len(rows) - held_out)
    folder = directory.adapter(2, AdapterRole.VERIFIER)
    check_layout(folder)
    assert json.loads((folder / "manifest.json").read_text())["verification"]["pairs"] == held_out
    assert metrics["verifier_verification"]["score_difference"] == 0.0
    candidates = CandidateFiles(directory, 2).candidates()
    assert all(set(one.scores) == {GENERATOR, VERIFIER, REFERENCE} for one in candidates)
    assert set(metrics["test_time"]["curves"]) >= RANKED
    assert not set(directory.metrics()[0]["test_time"]["curves"]) & RANKED  # there was none yet


def test_a_run_that_is_killed_again_and_again_learns_the_same_pairs(tmp_path: Path) -> None:
    asked = settings(iterations=1, trained_verifier={"reference": "first_iteration"})
    list(Bench(tmp_path / "whole", now_and_then).run(asked))
    killed = Bench(tmp_path / "killed", now_and_then)
    kills = 0
    while True:
        killed.restart(fail_after=41)
        try:
            list(killed.run(asked))
        except KeyboardInterrupt:
            kills += 1
            continue
        break
    assert kills > 4
    whole, again = (RunDirectory(tmp_path / name) for name in ("whole", "killed"))
    assert read_pairs(whole, 1) == read_pairs(again, 1) != []
    hashes = {file_sha256(one.adapter(1, AdapterRole.VERIFIER) / WEIGHTS) for one in (whole, again)}
    assert len(hashes) == 1
    told = [one.metrics()[1]["test_time"] for one in (whole, again)]
    assert told[0] == told[1]


def test_the_training_gets_the_references_numbers_and_no_held_out_pair(tmp_path: Path) -> None:
    bench = Bench(tmp_path, now_and_then)
    given: list[PreferencePair] = []
    train = bench.trainer.train

    def remember(job: Any) -> Any:
        given.extend(one for one in job.data if isinstance(one, PreferencePair))
        return train(job)

    bench.trainer.train = remember  # type: ignore[method-assign]
    list(bench.run(settings(iterations=1)))
    learned = [row for row in read_pairs(RunDirectory(tmp_path), 1) if not row.held_out]
    assert [(one.reference_chosen, one.reference_rejected) for one in given] == [
        (row.reference_chosen, row.reference_rejected) for row in learned
    ]


def test_the_yes_no_verifier_learns_both_words_of_each_question_and_needs_no_reference(
    tmp_path: Path,
) -> None:
    bench = Bench(tmp_path, now_and_then)
    list(bench.run(settings(iterations=1, trained_verifier={"method": "yes_no"})))
    rows = read_pairs(RunDirectory(tmp_path), 1)
    assert not any(row.is_scored for row in rows)
    words = [row.completion for row in bench.trainer.runs[-1].rows]
    assert words.count(" Yes") == words.count(" No") == sum(not row.held_out for row in rows)
    curves = RunDirectory(tmp_path).metrics()[1]["test_time"]["curves"]
    assert set(curves) & RANKED == {"best_of/verifier"}


def test_without_a_question_that_has_both_the_run_says_so_and_goes_on(tmp_path: Path) -> None:
    bench = Bench(tmp_path, master)
    assert list(bench.run(settings(iterations=1)))[-1].name == "stopped"
    metrics = RunDirectory(tmp_path).metrics()[1]
    assert metrics["pairs"]["count"] == 0
    assert "36 have right ones alone" in metrics["pairs"]["diagnosis"]
    assert "verifier_training" not in metrics
    assert not set(metrics["test_time"]["curves"]) & RANKED


def test_in_every_iteration_where_asked_for() -> None:
    asked = settings(trained_verifier={"when": "every_iteration"})
    assert phases_of(asked, 1)[-3:] == VERIFIER_PHASES
    done = IterationHistory(1, frozenset(phases_of(asked, 1)) - {PhaseName.VERIFY_VERIFIER}, kept=9)
    before = IterationHistory(0, frozenset(phases_of(asked, 0)))
    assert next_phase(asked, [before, done]) == PhaseRef(1, PhaseName.VERIFY_VERIFIER)


def test_settings_that_leave_nothing_to_pair_or_to_ask_are_refused() -> None:
    with pytest.raises(ValidationError, match="set trained_verifier, or name another job's"):
        config(evaluation={"test_time": {"scorer": "verifier"}})
    with pytest.raises(ValidationError, match="never both right and wrong"):
        config(trained_verifier={}, iterations=1)
    with pytest.raises(ValidationError, match="name best_of in methods"):
        TestTime(scorer="adp_1", methods=("pass",))


PROBE = AdapterProbe(("a",), ("a",), True, 1.0, 0.5)


def scored(*logprobs: float) -> list[Score]:
    return [Score("0", logprobs)]


def test_a_verifier_that_the_sampler_scores_otherwise_or_does_not_apply_is_refused() -> None:
    assert judge_verifier(PROBE, scored(-1.0, -2.0), scored(-1.01, -2.0), scored(-3.0, -3.0)) < 0.01
    with pytest.raises(BadAdapter, match="differently"):
        judge_verifier(PROBE, scored(-1.0), scored(-1.5), scored(-3.0))
    with pytest.raises(BadAdapter, match="does not apply"):
        judge_verifier(PROBE, scored(-1.0), scored(-1.09), scored(-1.11))
    with pytest.raises(BadAdapter, match="not finite"):
        judge_verifier(AdapterProbe((), (), False, math.nan, 0.5), [], [], [])


@pytest.mark.parametrize(
    ("score", "own", "before"),
    [("likelihood", -1.0, -1.0), ("likelihood_per_token", 0.5, 2.0), ("reward", 0.0, -1.0)],
)
def test_held_out_pairs_are_ranked_by_the_jobs_own_score(score: str, own: float, before: float) -> None:
    """The right text is twice as long: less likely as a whole, likelier per token."""
    right, wrong = (TryKey(1, RationaleKey("a", Route.GENERATED, n)) for n in range(2))
    row = PairRow(0, right, wrong, "p", "c", "r", reference_chosen=-6.0, reference_rejected=-5.0)
    assert _margin(score, row, Scored(-3.0, 2), Scored(-2.0, 1)) == (own, before)
