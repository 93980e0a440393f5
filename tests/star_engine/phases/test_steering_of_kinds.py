"""Jobs that steer themselves, with questions of every kind that is judged without running a program."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from star_engine.config.star import StarConfig
from star_engine.data.selection import chance
from star_engine.protocols import SampleRequest
from star_engine.run import run_star
from star_engine.run_directory import RunDirectory
from star_engine.sampling.rationales import Route
from star_engine.tasks.examples import Example
from star_engine.tasks.registry import task_of
from star_engine.testing.fakes import RecordingTrainer, ScriptedSampler
from tests.star_engine.tasks.prompts_of_kinds import CASES

JUDGED = [name for name in CASES if not task_of(CASES[name].prompt_set.kind).runs_programs]
SAMPLES = 4


@pytest.mark.parametrize("name", JUDGED)
def test_a_controller_and_an_adaptive_order_work_with_questions_of_each_kind(
    name: str, tmp_path: Path
) -> None:
    prompt_set = CASES[name].prompt_set
    [shown] = prompt_set.examples
    asked = Example("0", shown.question, shown.answer, shown.choices)
    train = [replace(asked, id=str(n), question=f"{asked.question} ({n})") for n in range(10)]
    lead = task_of(prompt_set.kind).layout.separator

    def answer(request: SampleRequest, adapter: Path | None) -> str:
        knows = chance(0, 0, "knows", f"{request.seed}{request.prompt}") < 0.6
        return f"{lead}{shown.rationale}" if knows else f"{lead}I do not know."

    settings = StarConfig.model_validate(
        {
            "kind": prompt_set.kind,
            "iterations": 1,
            "selection": {"order": "adaptive", "rows": 6},
            "controller": {"temperatures": [0.5, 1.0], "probe_examples": 3, "rows_wanted": 1},
            "generation": {"temperature": 0.7, "samples_per_example": SAMPLES},
            "rationalization": {"enabled": False},
            "verifier": {"pattern": r"Final answer: (\w+)"} if name == "pattern" else {},
            "training_set": {"filters": [], "dedupe": False},
            "training": {"schedule": {"kind": "fixed", "steps": 1}, "lora": {"rank": 2}},
            "evaluation": {"baselines": []},
            "audits": {"spark_level": None},
        }
    )
    sampler, trainer = ScriptedSampler(answer), RecordingTrainer(answer)
    held_out = [replace(asked, id="held-out", question=f"{asked.question} (held out)")]
    assert (
        list(run_star(settings, train, held_out, prompt_set, sampler, trainer, tmp_path))[-1].name
        == "stopped"
    )
    run = RunDirectory(tmp_path)
    metrics = run.metrics()[1]
    probes = [one for one in run.rationales(1) if one.key.route is Route.PROBE]
    assert len(probes) == 2 * 3 * SAMPLES
    right = sum(one.verdict == "correct" for one in probes)
    assert 0 < right < len(probes)
    assert sum(point["selected"] for point in metrics["control"]["grid"]) == right
    assert metrics["control"]["temperature"] in (0.5, 1.0)
    assert metrics["selection"]["rows"] >= 6
    assert metrics["selection"]["used"] < len(train)
