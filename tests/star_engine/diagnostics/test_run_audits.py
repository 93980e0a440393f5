"""What a run in one process finds out about its data and its sampler on the way."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from star_engine.diagnostics.token_parity import TokenMismatch
from star_engine.loop import PhaseName
from star_engine.protocols import SampleRequest
from star_engine.run import Event, run_star
from star_engine.run_directory import RunDirectory
from star_engine.testing.fakes import RecordingTrainer, ScriptedSampler, addition_pupil
from tests.star_engine.addition import ADDITION, additions
from tests.star_engine.test_run import BASE, HELD_OUT, TRAIN, Bench, config


def test_every_iteration_is_audited_and_says_what_the_hints_have_taught(tmp_path: Path) -> None:
    events = list(Bench(tmp_path).run(config()))
    first, second = (e.facts for e in events if e.name == "phase_finished" and e.phase is PhaseName.BUILD)
    rationalized = first["funnel"]["rationalized"]["trained"]
    assert first["audits"]["rationalization_yield"] is None
    again = second["audits"]["rationalization_yield"]
    assert (again["of_iteration"], again["taught"]) == (1, rationalized)
    assert again["solved"] == again["asked"] == rationalized > 0
    assert first["audits"]["verdicts"]["accepted"] == 0
    assert first["audits"]["verdicts"]["checked"] == sum(
        reached["sampled"] for reached in first["funnel"].values()
    )
    assert first["audits"]["length"]["drift"] is None
    assert second["audits"]["length"]["drift"] is not None


def test_a_trainer_with_another_tokenizer_stops_the_run_before_the_first_step(tmp_path: Path) -> None:
    class Other(RecordingTrainer):
        def training_token_ids(self, texts: Sequence[str]) -> list[list[int]]:
            return [[*ids, 0] for ids in super().training_token_ids(texts)]

    sampler, trainer = ScriptedSampler(addition_pupil()), Other(addition_pupil())
    with pytest.raises(TokenMismatch, match="tokenize a text differently"):
        list(run_star(config(), TRAIN, HELD_OUT, ADDITION, sampler, trainer, tmp_path, base=BASE))
    assert trainer.runs == []


def test_a_sampler_that_never_says_the_same_twice_is_graded_so(tmp_path: Path) -> None:
    said: Counter[str] = Counter()
    pupil = addition_pupil()

    def moody(request: SampleRequest, adapter: Path | None) -> str:
        name = request.key.replace("again/", "")
        said[name] += 1
        return pupil(request, adapter).replace("<scratch>", f"<scratch>\n{said[name]}")

    grades = []
    for number, script in enumerate((pupil, moody)):
        events = list(Bench(tmp_path / str(number), script).run(config(iterations=1)))
        [found] = [
            e.facts["audits"]["determinism"]
            for e in events
            if e.name == "phase_finished" and e.phase is PhaseName.SAMPLE
        ]
        assert (found["checked"], found["same_answer"]) == (4, 4)
        grades.append(found["grade"])
    assert grades == ["exact", "answers"]


def test_other_datasets_are_measured_along_in_every_iteration(tmp_path: Path) -> None:
    settings = config(evaluation={"also": ["longer"]})
    sampler, trainer = ScriptedSampler(addition_pupil()), RecordingTrainer(addition_pupil())
    longer = additions(digits=(1, 4), each=6, seed=11)

    def run(**more: Any) -> list[Event]:
        events = run_star(settings, TRAIN, HELD_OUT, ADDITION, sampler, trainer, tmp_path, base=BASE, **more)
        return list(events)

    with pytest.raises(ValueError, match=r"evaluation\.also names 'longer'"):
        run()
    events = run(also={"longer": longer})
    found = [e.facts["also"]["longer"] for e in events if e.name == "phase_finished" and "also" in e.facts]
    assert [one["n"] for one in found] == [12, 12, 12]
    assert 0.5 <= found[0]["accuracy"] < 1.0  # 1 digit is known, 4 digits are never taught
    assert found[1]["accuracy"] < 1.0


def test_a_run_killed_between_checks_goes_on_and_checks_each_rationale_once(tmp_path: Path) -> None:
    settings = config(iterations=1, training_set={"checks": ["hint_free"]})
    whole = Bench(tmp_path / "whole")
    list(whole.run(settings))
    expected = RunDirectory(whole.directory).rationales(1)
    assert {one.checks is not None for one in expected if one.key.route == "rationalized"} == {True}
    bench = Bench(tmp_path / "killed")
    for event in bench.run(settings):
        if event.facts.get("unit") == "checks" and event.facts["done"] == 5:
            break
    bench.restart()
    assert list(bench.run(settings))[-1].name == "stopped"
    checks = RunDirectory(bench.directory).checks_path(1).read_text().splitlines()
    assert len(checks) == sum(one.checks is not None for one in expected)
    again = RunDirectory(bench.directory).rationales(1)
    assert {one.key: one.checks for one in again} == {one.key: one.checks for one in expected}
