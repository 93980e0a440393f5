"""B-STaR with a scorer: tries get rewards, the grid has thresholds, and the chosen one filters the rows."""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from star_engine.config.star import StarConfig
from star_engine.phases.rewards import reward_of
from star_engine.run_directory import RunDirectory
from star_engine.sampling.rationales import Rationale, Route
from tests.star_engine.test_run import TRAIN, Bench, config
from tests.wavering import wavering

SAMPLES = 3
THRESHOLDS = (-1.0, 0.0, 0.95)


def settings(method: str = "yes_no", **changes: Any) -> StarConfig:
    return config(
        **{
            "iterations": 2,
            "controller": {
                "temperatures": [0.5, 1.0],
                "probe_examples": 8,
                "rows_wanted": 1,
                "scorer": "verifier",
                "thresholds": THRESHOLDS,
            },
            "generation": {"temperature": 0.7, "samples_per_example": SAMPLES},
            "rationalization": {"enabled": False},
            "training_set": {"filters": [], "dedupe": False},
            "audits": {"spark_level": None},
            "trained_verifier": {
                "method": method,
                "when": "every_iteration",
                "beta": 1.0,
                "schedule": {"kind": "fixed", "steps": 2},
            },
            **changes,
        }
    )


def tries(directory: Path, iteration: int, route: Route) -> list[Rationale]:
    return [one for one in RunDirectory(directory).rationales(iteration) if one.key.route is route]


def total(one: Rationale) -> float:
    assert one.reward is not None
    return (one.verdict == "correct") + one.reward


@pytest.mark.parametrize("method", ["yes_no", "dpo"])
def test_from_the_second_iteration_on_the_verifier_before_rewards_and_its_threshold_filters(
    tmp_path: Path, method: str
) -> None:
    assert list(Bench(tmp_path, wavering()).run(settings(method)))[-1].name == "stopped"
    run = RunDirectory(tmp_path)
    first, second = (run.metrics()[number] for number in (1, 2))
    assert "threshold" not in first["control"]
    assert {one.reward for one in tries(tmp_path, 1, Route.GENERATED)} == {None}
    assert len(first["control"]["grid"]) == 2
    assert len(second["control"]["grid"]) == 6
    assert second["control"]["scorer"] == "verifier"
    threshold = second["control"]["threshold"]
    made = tries(tmp_path, 2, Route.GENERATED)
    assert len(made) == SAMPLES * len(TRAIN)
    decided = {one.key: one for one in run.decisions(2)}
    for one in made:
        assert decided[one.key].kept is (one.verdict == "correct" and total(one) > threshold)
        if one.verdict == "correct":
            assert one.checks == {"reward": total(one) > threshold}
    kept = {one.key for one in run.training_set(2)}
    assert kept == {key for key, one in decided.items() if one.kept}
    rewarded = second["audits"]["exploration"]["rewarded"]
    assert set(rewarded) == {"1", "2"}
    assert 0 < rewarded["2"] <= rewarded["1"] <= 1
    assert "rewarded" not in first["audits"]["exploration"]


def test_a_threshold_that_only_certain_texts_pass_drops_right_ones(tmp_path: Path) -> None:
    list(Bench(tmp_path, wavering()).run(settings()))
    metrics = RunDirectory(tmp_path).metrics()[2]
    assert metrics["control"]["threshold"] == 0.95
    right = [one for one in tries(tmp_path, 2, Route.GENERATED) if one.verdict == "correct"]
    low = sum(total(one) <= 0.95 for one in right)
    assert 0 < low < len(right)
    assert metrics["dropped"]["generated"]["low_reward"] == low
    assert metrics["funnel"]["generated"]["long_enough"] - metrics["funnel"]["generated"]["trained"] == low
    wrong = [one for one in tries(tmp_path, 2, Route.PROBE) if one.verdict != "correct"]
    assert any(total(one) > 0 for one in wrong), "a threshold of 0 would have selected wrong tries"


def test_the_points_of_the_grid_are_those_counted_by_hand(tmp_path: Path) -> None:
    list(Bench(tmp_path, wavering()).run(settings()))
    control = RunDirectory(tmp_path).metrics()[2]["control"]
    probes = tries(tmp_path, 2, Route.PROBE)
    for point in control["grid"]:
        place = [0.5, 1.0].index(point["temperature"])
        here = [one for one in probes if one.key.sample // SAMPLES == place]
        selected = [one for one in here if total(one) > point["threshold"]]
        assert point["selected"] == len(selected)
        right = {(one.key.example_id, one.text) for one in selected if one.verdict == "correct"}
        assert point["distinct"] == len(right)  # a scratchpad's text is its solution
        by_example = Counter(one.key.example_id for one in selected)
        distinct = Counter(name for name, _ in right)
        score = math.fsum(min(distinct[name], 1) * distinct[name] / by_example[name] for name in by_example)
        assert point["score"] == pytest.approx(score / 8)


def test_a_run_that_breaks_while_it_rewards_goes_on_to_the_same(tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    list(Bench(whole, wavering()).run(settings()))
    bench, torn = Bench(parts, wavering()), 0
    while True:
        bench.restart(fail_after=50)
        try:
            for event in bench.run(settings()):
                if event.facts.get("unit") == "rewards" and torn < 2:
                    torn += 1
                    raise KeyboardInterrupt
            break
        except KeyboardInterrupt:
            continue
    assert torn == 2
    one, other = (RunDirectory(folder).metrics()[2] for folder in (whole, parts))
    for name in ("control", "training_set_sha256", "kept", "dropped"):
        assert json.dumps(one[name]) == json.dumps(other[name]), name


def test_a_reward_is_the_probability_of_being_right_between_minus_1_and_1() -> None:
    assert reward_of(0.0) == 0.0
    assert reward_of(math.log(3)) == pytest.approx(2 * 0.75 - 1)
    assert reward_of(-1e9) == -1.0
    assert reward_of(1e9) == 1.0


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"trained_verifier": None}, "set trained_verifier.when to every_iteration"),
        ({"trained_verifier": {"when": "end"}}, "set trained_verifier.when to every_iteration"),
        ({"controller": {"scorer": "verifier", "thresholds": [0.5, 0.0]}}, "the values ascend"),
        ({"controller": {"scorer": "verifier", "thresholds": [1.5]}}, "less than or equal to 1"),
        ({"controller": {"scorer": "likelihood"}}, "String should match"),
    ],
)
def test_a_scorer_that_is_not_there_and_thresholds_without_sense_are_refused(
    changes: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        settings(**changes)


def test_another_jobs_verifier_is_for_a_service_to_find(tmp_path: Path) -> None:
    named = settings(controller={"scorer": "adp_1", "rows_wanted": 1}, trained_verifier=None)
    with pytest.raises(ValueError, match=r"controller\.scorer names the adapter adp_1 of another job"):
        list(Bench(tmp_path, wavering()).run(named))
