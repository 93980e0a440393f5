"""The example of a verifier: its questions do not overlap, and its page says what was found."""

from __future__ import annotations

from pathlib import Path

import pytest

from examples.carry import stopped, verifier
from examples.carry.verifier import CONTROL, REWARD, SCORERS, TEST_TIME, VERIFIER, Found, page, questions
from star_engine.evaluation.candidates import (
    GENERATOR,
    Candidate,
    CandidateKey,
    QuestionCurves,
    Scored,
    question_curves,
)


def curves(name: str) -> QuestionCurves:
    """Four right of 16: the verifier finds them, the model's own likelihood does not."""
    found = []
    for sample in range(16):
        right = sample < 4
        scores = {VERIFIER: right, REWARD: right, CONTROL: right, GENERATOR: not right}
        answer = "7" if right else "8"
        found.append(
            Candidate(
                CandidateKey(name, sample),
                f"{answer} of {sample}",
                "correct" if right else "wrong",
                answer,
                answer,
                "last",
                1,
                9,
                "stop",
                scores={scorer: Scored(float(high), 9) for scorer, high in scores.items()},
            )
        )
    return question_curves(TEST_TIME, name, found, SCORERS)


def test_held_out_questions_are_none_of_the_learned_ones() -> None:
    learned = questions(20, seed=1)
    tested = questions(20, seed=2, taken=frozenset(one.question for one in learned))
    assert len(learned) == len(tested) == 60
    assert not {one.question for one in learned} & {one.question for one in tested}
    assert {one.group for one in tested} == {"2", "3", "4"}


def test_the_page_has_every_control_beside_the_verifier() -> None:
    found = Found(0, pairs=12, all_right=1, all_wrong=2, curves=[curves("a"), curves("b")])
    text = "\n".join(page([found], 60.0, "command"))
    assert "| best of k by the verifier's likelihood | 25.0 |" in text
    for control in ("by its own likelihood", "the shortest", "at random", "tuned on right tries alone"):
        assert control in text
    assert "| verifier's likelihood against best of k by its own likelihood | +100.0 |" in text
    assert "2 train questions without a right try" in text


def test_a_seed_that_has_been_run_is_read_and_not_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[tuple[int, int]] = []

    def run(out: Path, seed: int, each_train: int, each_test: int) -> Found:
        ran.append((seed, each_test))
        return Found(seed, pairs=12, all_right=1, all_wrong=2, curves=[curves("a"), curves("b")])

    monkeypatch.setattr(verifier, "run", run)
    first, again = (verifier.run_once(tmp_path, 2, 16, 16) for _ in range(2))
    assert first == again
    assert ran == [(2, 16)]
    verifier.run_once(tmp_path, 2, 16, 20)  # other questions are another run
    assert ran == [(2, 16), (2, 20)]


def test_the_page_of_a_stopped_verifier_says_where_it_ended_and_what_was_kept() -> None:
    config = stopped.settings(seed=3)
    assert config.trained_verifier is not None
    assert config.trained_verifier.stop is not None
    report = {
        "steps": 50,
        "training_examples": 99,
        "stop": {
            "k": 16,
            "questions": 12,
            "trained_steps": 75,
            "looks": [
                {"step": step, "best_of_k": share} for step, share in ((25, 0.5), (50, 0.9), (75, 0.8))
            ],
        },
    }
    points = [{"value": 0.25}, {"value": 0.75}]
    measured = {"n": 48, "ks": [1, 16], "curves": {"pass": points, "majority_tied": points}}
    verified = {"pairs": 9, "pair_accuracy": 1.0, "pair_accuracy_before": 0.25}
    metrics = {1: {"verifier_training": report, "verifier_verification": verified, "test_time": measured}}
    text = "\n".join(stopped.page(metrics, 60.0, "command"))
    assert "| steps | 25 | 50 | 75 |" in text
    assert "| best of 16 on 12 held-out train questions, % | 50.0 | 90.0 | 80.0 |" in text
    assert "Kept: the state after 50 steps; 99 pairs were learned. Of 9 held-out pairs" in text
    assert "| pass@k: any is right | 25.0 | 75.0 |" in text
    assert "tied" not in text
