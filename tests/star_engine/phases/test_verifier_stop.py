"""A verifier's training ends where best of k stops rising, and the best of its states is kept."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import ValidationError

from star_engine.adapters.layout import CONFIG, OPTIMIZER, WEIGHTS, check_layout, file_sha256
from star_engine.adapters.roles import AdapterRole
from star_engine.config.pairs import TrainedVerifier
from star_engine.config.presets import PRESETS
from star_engine.config.star import StarConfig
from star_engine.phases.verifier_stop import Answer, Look, Looks, Parts, part_of, rank
from star_engine.protocols import (
    SampleRequest,
    Score,
    ScoreRequest,
    TrainingJob,
    TrainingProgress,
    TrainingText,
)
from star_engine.run_directory import RunDirectory
from star_engine.run_pairs import read_pairs
from star_engine.tasks.kind import Kind
from star_engine.testing.adapters import write_adapter
from star_engine.testing.fakes import RecordingTrainer
from tests.star_engine.phases.test_verifier import master, now_and_then, settings
from tests.star_engine.test_run import Bench

STEPS, BEST_AT = 20, 4
SCORES: tuple[Literal["likelihood"], Literal["reward"]] = ("likelihood", "reward")


def steps_of(adapter: Path) -> int:
    """Optimizer steps behind a part's adapter, as the fake trainer carries them on."""
    return int(json.loads((adapter / OPTIMIZER).read_text())["steps"])


class Pupil(RecordingTrainer):
    """Its verifier ranks right texts first after BEST_AT steps, and last after any other number of them."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.looked: list[int] = []

    def score_trained(self, adapter: Path | None, requests: Sequence[ScoreRequest]) -> list[Score]:
        assert adapter is not None
        if not (adapter / OPTIMIZER).exists():  # the published one, when it is verified
            return super().score_trained(adapter, requests)
        step = steps_of(adapter)
        self.looked.append(step)
        return [
            Score(one.key, (-1.0 if self._right(one.text) is (step == BEST_AT) else -2.0,))
            for one in requests
        ]

    @staticmethod
    def _right(text: TrainingText) -> bool:
        return master(SampleRequest("", text.prompt), None).startswith(f"{text.completion}\n\n")


class StoppedBench(Bench):
    def restart(self, fail_after: int | None = None) -> None:
        super().restart(fail_after)
        self.trainer = Pupil(self.script, before_step=lambda _step: self._tick())


def stopping(**stop: Any) -> StarConfig:
    verifier: dict[str, Any] = {"stop": {"k": 4, "patience": 2, **stop}}
    return settings(
        iterations=1, trained_verifier={"schedule": {"kind": "fixed", "steps": STEPS}, **verifier}
    )


def test_the_training_ends_behind_the_best_state_which_is_kept(tmp_path: Path) -> None:
    bench = StoppedBench(tmp_path, now_and_then)
    list(bench.run(stopping()))
    directory = RunDirectory(tmp_path)
    report = directory.metrics()[1]["verifier_training"]
    stop = report["stop"]
    assert [one["step"] for one in stop["looks"]] == [2, 4, 6, 8]  # two looks that are no better end it
    shares = {one["step"]: one["best_of_k"] for one in stop["looks"]}
    assert shares[BEST_AT] == 1.0 > max(shares[2], shares[6], shares[8])
    assert (report["steps"], stop["trained_steps"], stop["k"]) == (BEST_AT, 8, 4)
    assert report["examples_seen"] == BEST_AT * 4
    held_out = {row.chosen.key.example_id for row in read_pairs(directory, 1) if row.held_out}
    assert stop["questions"] == len(held_out) > 0
    folder = directory.adapter(1, AdapterRole.VERIFIER)
    check_layout(folder)
    parts = [run for run in bench.trainer.runs if run.rows[0].completion and run.steps == 2]
    kept = [run for run in parts if run.moments is not None]
    assert len(kept) == 3  # all but the first go on with weights and moments
    assert not (folder / OPTIMIZER).exists()
    assert f"| stopped by | best of 4 on {len(held_out)}" in (folder / "README.md").read_text()


@pytest.mark.parametrize(
    "how", [{"method": "yes_no"}, {"score": "reward"}, {"score": "likelihood_per_token"}]
)
def test_each_way_to_rank_ends_its_training_too(tmp_path: Path, how: dict[str, str]) -> None:
    bench = Bench(tmp_path, now_and_then)
    verifier = {"stop": {"k": 4, "patience": 1}, "schedule": {"kind": "fixed", "steps": STEPS}, **how}
    list(bench.run(settings(iterations=1, trained_verifier=verifier)))
    report = RunDirectory(tmp_path).metrics()[1]["verifier_training"]
    # The fake finds texts as likely after each step: no look is better than the first.
    assert [one["step"] for one in report["stop"]["looks"]] == [2, 4]
    assert report["steps"] == 2
    batch = [len(run.rows) for run in bench.trainer.runs[1:]]
    assert batch == [2 * 2 * 4] * 2  # texts: two steps of four pairs


def test_the_rate_of_a_part_does_not_fall_to_zero_at_its_end(tmp_path: Path) -> None:
    bench = StoppedBench(tmp_path, now_and_then)
    shares: list[tuple[int, float]] = []
    train = bench.trainer.train

    def remember(job: TrainingJob) -> Iterator[TrainingProgress]:
        shares.append((job.steps, job.settings.decay_share))
        return train(job)

    bench.trainer.train = remember  # type: ignore[method-assign]
    asked = stopping()
    training = asked.training.model_copy(update={"decay_share": 0.5})
    list(bench.run(asked.model_copy(update={"training": training})))
    assert shares[0][1] == 0.5  # the generator's own
    assert shares[1:] == [(2, 0.0)] * 4


def test_by_reward_a_text_ranks_by_what_training_has_added(tmp_path: Path) -> None:
    class Fixed(RecordingTrainer):
        def score_trained(self, adapter: Path | None, requests: Sequence[ScoreRequest]) -> list[Score]:
            return [Score(one.key, (float(one.text.completion),)) for one in requests]

    answers = [
        Answer(TrainingText("q", "-5"), True, reference=-9.0),  # likelier than before by 4
        Answer(TrainingText("q", "-1"), False, reference=-2.0),  # by 1, and the likeliest all the same
    ]
    ranked = [rank(Fixed(), tmp_path, {"q": answers}, TrainedVerifier(score=how), 2) for how in SCORES]
    assert [share for share, _ in ranked] == [0.0, 1.0]


def test_no_pair_of_a_question_that_is_ranked_is_learned(tmp_path: Path) -> None:
    bench = StoppedBench(tmp_path, now_and_then)
    list(bench.run(stopping()))
    rows = read_pairs(RunDirectory(tmp_path), 1)
    asked = {row.prompt for row in rows if row.held_out}
    learned = {row.prompt for run in bench.trainer.runs[1:] for row in run.rows}
    assert asked
    assert not asked & learned


def test_killed_again_and_again_it_keeps_the_same_weights_and_looks_at_no_state_twice(
    tmp_path: Path,
) -> None:
    list(StoppedBench(tmp_path / "whole", now_and_then).run(stopping()))
    killed = StoppedBench(tmp_path / "killed", now_and_then)
    kills, looked = 0, list[int]()
    while True:
        killed.restart(fail_after=37)
        try:
            list(killed.run(stopping()))
        except KeyboardInterrupt:
            kills += 1
            continue
        finally:
            assert isinstance(killed.trainer, Pupil)
            looked += killed.trainer.looked
        break
    assert kills > 4
    whole, again = (RunDirectory(tmp_path / name) for name in ("whole", "killed"))
    hashes = {file_sha256(one.adapter(1, AdapterRole.VERIFIER) / WEIGHTS) for one in (whole, again)}
    assert len(hashes) == 1
    said = [one.metrics()[1]["verifier_training"] for one in (whole, again)]
    assert said[0]["stop"] == said[1]["stop"]
    assert said[0]["tokens"] == said[1]["tokens"]
    assert looked == sorted(looked)


def test_fewer_pairs_in_order_may_be_the_better_ranking(tmp_path: Path) -> None:
    """Best of k asks for the text on top: three right pairs of four do not help below a wrong one."""

    class Fixed(RecordingTrainer):
        def score_trained(self, adapter: Path | None, requests: Sequence[ScoreRequest]) -> list[Score]:
            return [Score(one.key, (float(one.text.completion),)) for one in requests]

    def of(right: Sequence[int], wrong: Sequence[int]) -> float:
        answers = [Answer(TrainingText("q", str(-one)), True) for one in right]
        answers += [Answer(TrainingText("q", str(-one)), False) for one in wrong]
        return rank(Fixed(), tmp_path, {"q": answers}, TrainedVerifier(), len(answers))[0]

    assert of(right=[2, 3, 4], wrong=[1, 5, 6, 7]) == 0.0  # 9 of 12 pairs
    assert of(right=[1, 6, 7], wrong=[2, 3, 4, 5]) == 1.0  # 4 of 12


def test_of_equal_looks_the_earlier_state_stays_and_the_last_step_ends_it() -> None:
    looks = Looks([Look(2, 0.5, 0.9, 0), Look(4, 0.75, 0.5, 0), Look(6, 0.75, 0.5, 0)])
    assert looks.best == Look(4, 0.75, 0.5, 0)
    assert not looks.ended(steps=8, patience=2)
    assert looks.ended(steps=8, patience=1)
    assert looks.ended(steps=6, patience=9)
    assert not Looks().ended(steps=6, patience=1)


def test_where_best_of_k_is_level_the_better_order_below_it_decides(tmp_path: Path) -> None:
    """Both have a right text on top; of two drawn texts the second one has a right one first more often."""

    class Fixed(RecordingTrainer):
        def score_trained(self, adapter: Path | None, requests: Sequence[ScoreRequest]) -> list[Score]:
            return [Score(one.key, (float(one.text.completion),)) for one in requests]

    def of(right: Sequence[int], wrong: Sequence[int]) -> tuple[float, float]:
        answers = [Answer(TrainingText("q", str(-one)), True) for one in right]
        answers += [Answer(TrainingText("q", str(-one)), False) for one in wrong]
        return rank(Fixed(), tmp_path, {"q": answers}, TrainedVerifier(), 4)

    early, late = of(right=[1, 4], wrong=[2, 3]), of(right=[1, 2], wrong=[3, 4])
    assert early == (1.0, 0.5)  # of 6 pairs 3 have the text on top
    assert late[0] == 1.0
    assert late[1] == pytest.approx(5 / 6, abs=1e-6)
    looks = Looks([Look(2, *early, 0), Look(4, *late, 0), Look(6, *early, 0)])
    assert looks.best is looks.found[1]
    assert not looks.ended(steps=20, patience=2)


def test_parts_learn_every_pair_once_in_a_pass() -> None:
    rows = list(range(10))
    parts = [part_of(rows, first, 4, seed=3) for first in range(0, 40, 4)]
    drawn = [one for part in parts for one in part]
    for at in range(0, 40, 10):
        assert sorted(drawn[at : at + 10]) == rows
    assert drawn[:10] != drawn[10:20]


@pytest.mark.parametrize("damage", ["weights", "input", "looks"])
def test_a_damaged_or_foreign_part_is_not_gone_on_with(tmp_path: Path, damage: str) -> None:
    parts = Parts(tmp_path, "mine")
    draft = parts.draft()
    draft.mkdir()
    write_adapter(draft, rank=2, alpha=4, lessons=frozenset())
    (draft / OPTIMIZER).write_text("{}")
    kept = parts.keep(draft, Looks([Look(2, 0.5, 0.5, 7)]), None)
    assert parts.newest() == (kept, Looks([Look(2, 0.5, 0.5, 7)]))
    if damage == "weights":
        (kept / WEIGHTS).write_bytes(b"")
    elif damage == "looks":
        (kept / "looks.json").write_text("{")
    else:
        parts = Parts(tmp_path, "another")
    assert (kept / CONFIG).exists()
    assert parts.newest() is None


def test_without_held_out_questions_it_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"trained_verifier\.held_out is 0"):
        settings(trained_verifier={"held_out": 0, "stop": {}})


def test_the_preset_stops_by_best_of_k() -> None:
    verifier = PRESETS["v-star"](Kind.NUMERIC).trained_verifier
    assert verifier is not None
    assert verifier.stop is not None
