"""The verifier on sums: tries of two rounds keep apart, and the page has every control."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from examples.carry.verifier import BARE, CONTROL, TEST_TIME, VERIFIER, with_reward
from examples.sums import verifier
from examples.sums.task import rationale, work_out
from examples.sums.verifier import SCORERS, STEPS, Found, distinct_right, page, renumbered, with_control
from star_engine.evaluation.candidates import (
    GENERATOR,
    Candidate,
    CandidateKey,
    QuestionCurves,
    Scored,
    question_curves,
)
from star_engine.protocols import SampleRequest
from star_engine.sampling.rationales import Rationale, RationaleKey, Route
from star_engine.testing.fakes import RecordingTrainer, ScriptedSampler
from star_engine.training_set.pairs import Tried


def tried(iteration: int, sample: int, text: str, verdict: str = "correct") -> Tried:
    key = RationaleKey("e", Route.GENERATED, sample)
    return Tried(iteration, Rationale(key, text, verdict, None, "last", 9, 9, "stop"))


def curves() -> QuestionCurves:
    """Four right of 16: found by the verifier, and by the control against the base model."""
    found = []
    for sample in range(16):
        right, order = sample < 4, -float(sample < 4)
        totals = {GENERATOR: order, BARE: 9 * order, VERIFIER: -order, CONTROL: order}
        scores = {name: Scored(total, 9) for name, total in totals.items()}
        one = Candidate(
            CandidateKey("e", sample),
            f"text {sample}",
            "correct" if right else "wrong",
            "7",
            "7" if right else "8",
            "last",
            1,
            9,
            "stop",
            scores=scores,
        )
        found.append(with_control(with_reward(one)))
    return question_curves(TEST_TIME, "e", found, SCORERS)


def test_tries_of_the_second_round_have_numbers_of_their_own() -> None:
    first, second = tried(1, 3, "a"), renumbered(tried(2, 3, "b"))
    assert first.rationale.key.sample == 3
    assert second.rationale.key.sample == 19


def test_the_control_learns_each_right_text_once_and_no_wrong_one() -> None:
    rows = distinct_right([tried(1, 0, "a"), tried(1, 1, "a"), tried(2, 0, "b", "wrong"), tried(2, 1, "c")])
    assert [one.text for one in rows] == ["a", "c"]


def test_the_page_has_the_control_in_each_way_of_ranking() -> None:
    found = Found(
        0, pairs=12, right=20, all_right=1, all_wrong=2, curves={steps: 2 * [curves()] for steps in STEPS}
    )
    text = "\n".join(page([found], 60.0, "command"))
    assert "| best of k by right tries alone, likelihood | 25.0 |" in text
    assert f"| likelihood | {STEPS[0]} | right tries alone, likelihood | +100.0 |" in text
    assert f"| likelihood | {STEPS[0]} | right tries alone, against the base model | +0.0 |" in text


def test_a_seed_runs_from_the_tries_of_two_rounds_to_its_curves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def script(request: SampleRequest, _adapter: Path | None) -> str:
        asked = request.prompt.rpartition("Q: ")[2].partition("\n")[0]
        terms = [int(one) for one in asked.split(" + ")]
        return " " + rationale(*work_out(random.Random(f"{asked} {request.seed}"), terms, forgets=0.6))

    trainer = RecordingTrainer(script)
    monkeypatch.setattr(verifier, "TRAIN", 12)
    monkeypatch.setattr(verifier, "TEST", 8)
    monkeypatch.setattr(verifier, "load_model", lambda *_, **__: (ScriptedSampler(script), trainer))
    found = verifier.run(tmp_path, 0)
    assert [run.steps for run in trainer.runs] == [15, 25, 25, 100, 100]
    assert all(len(curves) == verifier.TEST for curves in found.curves.values())
    assert 0 < found.pairs <= 8 * verifier.TRAIN
    own = found.curves[25][0].curves
    assert {"pass", *(f"best_of/{name}" for name in SCORERS)} <= own.keys()
