"""Many answers to each held-out question: recorded once, scored, and measured, killed or not."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from pydantic import ValidationError

from star_engine.adapters.layout import check_layout
from star_engine.config.evaluation import TestTime
from star_engine.config.star import StarConfig
from star_engine.evaluation.candidates import (
    GENERATOR,
    Candidate,
    CandidateKey,
    QuestionCurves,
    Scored,
    question_curves,
    score_distinct,
    summary,
)
from star_engine.loop import IterationHistory, PhaseName, PhaseRef, Stop, next_phase, phases_of
from star_engine.protocols import SampleRequest, Score, ScoreRequest, TrainingText
from star_engine.run_candidates import CandidateFiles
from star_engine.run_directory import RunDirectory
from star_engine.testing.fakes import addition_pupil
from tests.star_engine.test_run import HELD_OUT, Bench, config, finished

SAMPLES = 4
SETTINGS = {"test_time": {"samples": SAMPLES}}
pupil = addition_pupil()
master = addition_pupil(known=frozenset({1, 2, 3}))


def now_and_then(request: SampleRequest, adapter: Path | None) -> str:
    """As the pupil, and right where the seed is divisible by three."""
    lucky = request.seed is not None and request.seed % 3 == 0
    return (master if lucky else pupil)(request, adapter)


def curves_of(run: Path, iteration: int) -> list[QuestionCurves]:
    found = CandidateFiles(RunDirectory(run), iteration).question_curves()
    return sorted(found, key=lambda one: one.example_id)


def test_the_base_model_and_the_last_adapter_answer_each_question_many_times(tmp_path: Path) -> None:
    bench = Bench(tmp_path, now_and_then)
    events = list(bench.run(config(evaluation=SETTINGS)))
    assert finished(events)[1] == (0, "test_time")
    assert finished(events)[-1] == (2, "test_time")
    assert [n for n, name in finished(events) if name == "test_time"] == [0, 2]
    metrics = RunDirectory(tmp_path).metrics()
    for number in (0, 2):
        candidates = CandidateFiles(RunDirectory(tmp_path), number).candidates()
        keys = {CandidateKey(one.id, sample) for one in HELD_OUT for sample in range(SAMPLES)}
        assert {one.key for one in candidates} == keys
        assert len(candidates) == len(keys)
        assert all(set(one.scores) == {GENERATOR} for one in candidates)
        found = metrics[number]["test_time"]
        assert (found["n"], found["ks"]) == (len(HELD_OUT), [1, 2, 4])
        assert set(found["curves"]) == {
            *("pass", "pass_all", "majority", "majority_tied", "majority_unparsed"),
            *("best_of/generator", "best_of/random", "best_of/shortest"),
        }
    base, last = (metrics[number]["test_time"]["curves"] for number in (0, 2))
    assert base["pass"][0]["value"] < base["pass"][2]["value"] < 1.0
    assert {point["value"] for point in base["best_of/random"]} == {base["pass"][0]["value"]}
    assert [point["value"] for point in last["pass_all"]] == [1.0, 1.0, 1.0]


def test_a_run_that_is_killed_again_and_again_records_what_an_undisturbed_one_does(tmp_path: Path) -> None:
    settings = config(evaluation=SETTINGS, iterations=1)
    list(Bench(tmp_path / "whole", now_and_then).run(settings))
    killed = Bench(tmp_path / "killed", now_and_then)
    kills = 0
    while True:
        killed.restart(fail_after=37)
        try:
            list(killed.run(settings))
        except KeyboardInterrupt:
            kills += 1
            continue
        break
    assert kills > 4
    for number in (0, 1):
        whole, again = (
            {one.key: one for one in CandidateFiles(RunDirectory(tmp_path / name), number).candidates()}
            for name in ("whole", "killed")
        )
        assert whole == again
        assert curves_of(tmp_path / "whole", number) == curves_of(tmp_path / "killed", number)
    cards = [RunDirectory(tmp_path / name).adapter(1) / "README.md" for name in ("whole", "killed")]
    assert cards[0].read_text() == cards[1].read_text()


def test_the_last_adapters_card_has_pass_at_k_beside_the_base_models_and_what_collapse_is_told_by(
    tmp_path: Path,
) -> None:
    list(Bench(tmp_path, now_and_then).run(config(evaluation=SETTINGS)))
    directory = RunDirectory(tmp_path)
    base, last = (directory.metrics()[n]["test_time"]["curves"]["pass"] for n in (0, 2))
    card = (directory.adapter(2) / "README.md").read_text()
    for k, one, other in zip((1, 2, 4), base, last, strict=True):
        [row] = [line for line in card.splitlines() if line.startswith(f"| pass@{k} |")]
        shares = [f"{100 * point['value']:.1f} % ({100 * point['low']:.1f}" for point in (one, other)]
        assert all(share in row for share in shares)
    assert "| distinct solutions of a solved question |" in card
    assert "| entropy of the answers to a question, bits |" in card
    assert "newly solved and" in card
    assert card.count("## Receipt") == card.count("What was measured later") == 1
    check_layout(directory.adapter(2))  # the manifest has the hash of the card as it is now
    manifest = json.loads((directory.adapter(2) / "manifest.json").read_text())
    collapse = manifest["evaluation"]["receipt"]["collapse"]
    assert [point["k"] for point in collapse["adapter"]["passed"]] == [1, 2, 4]
    assert collapse["pass_difference"]["n"] == len(HELD_OUT)
    assert "pass@" not in (directory.adapter(1) / "README.md").read_text()  # it was not asked many times


def test_without_the_setting_there_is_no_such_phase() -> None:
    plain = config()
    assert PhaseName.TEST_TIME not in phases_of(plain, 0)
    done = IterationHistory(2, frozenset(phases_of(plain, 2)), kept=9, accuracy=0.5)
    before = [IterationHistory(0, frozenset(phases_of(plain, 0))), _done(plain, 1), done]
    assert isinstance(next_phase(plain, before), Stop)


def test_a_job_that_stops_early_still_measures_its_last_adapter() -> None:
    asked = config(evaluation=SETTINGS, stop={"target_accuracy": 0.5})
    history = [IterationHistory(0, frozenset(phases_of(asked, 0))), _done(asked, 1)]
    assert next_phase(asked, history) == PhaseRef(1, PhaseName.TEST_TIME)


def test_a_job_of_baselines_alone_measures_the_base_model_and_ends() -> None:
    asked = config(evaluation=SETTINGS, baselines_only=True)
    done = IterationHistory(0, frozenset({PhaseName.BASELINES}))
    assert next_phase(asked, [done]) == PhaseRef(0, PhaseName.TEST_TIME)
    assert isinstance(next_phase(asked, [IterationHistory(0, frozenset(phases_of(asked, 0)))]), Stop)


def test_only_drawable_numbers_of_answers_are_accepted() -> None:
    with pytest.raises(ValidationError, match="ks names 8 answers of 4"):
        TestTime(samples=4, ks=(1, 8))
    with pytest.raises(ValidationError, match="ascends"):
        TestTime(samples=4, ks=(2, 1))
    assert TestTime(samples=12).all_ks == (1, 2, 4, 8, 12)


def test_equal_texts_are_scored_once_and_one_that_does_not_fit_costs_the_others_nothing() -> None:
    asked: list[str] = []

    class Scorer:
        def use(self, adapter: Path | None) -> None: ...

        def score(self, requests: Sequence[ScoreRequest]) -> Iterator[Score]:
            if any("long" in request.text.completion for request in requests):
                raise ValueError("Text has 9 tokens; 2 to 8 fit the model.")
            asked.extend(request.text.completion for request in requests)
            return iter([Score(request.key, (-1.0, -2.0)) for request in requests])

    texts = ["same", "same", "too long", "other"]
    wanted = [(CandidateKey("q", n), TrainingText("Q:", f" {text}"), True) for n, text in enumerate(texts)]
    found = {key.sample: score for batch in score_distinct(Scorer(), wanted) for key, score in batch.items()}
    assert found == {0: Scored(-3.0, 2), 1: Scored(-3.0, 2), 3: Scored(-3.0, 2)}
    assert asked == [" same", " other"]


def test_a_candidate_without_a_score_is_ranked_last_and_unparsed_ones_are_counted() -> None:
    right = candidate(0, "correct", "7", {GENERATOR: Scored(-9.0, 3)})
    unscored = candidate(1, "wrong", "8", {})
    silent = candidate(2, "unparsed", None, {GENERATOR: Scored(-99.0, 3)})
    found = question_curves(TestTime(samples=3), "q", [right, unscored, silent], [GENERATOR])
    assert found.curves["best_of/generator"][-1] == 1.0
    assert (found.answers, found.right, found.unparsed, found.solutions) == (3, 1, 1, 1)
    assert summary(TestTime(samples=3), [found])["unparsed"] == pytest.approx(1 / 3, abs=1e-6)


def candidate(sample: int, verdict: str, canonical: str | None, scores: dict[str, Scored]) -> Candidate:
    text = f"so it is {canonical}"
    return Candidate(
        CandidateKey("q", sample), text, verdict, canonical, canonical, "last", 5, 4, "stop", scores=scores
    )


def _done(settings: StarConfig, number: int) -> IterationHistory:
    return IterationHistory(number, frozenset(phases_of(settings, number)), kept=9, accuracy=0.9)
