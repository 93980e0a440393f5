"""What a run in one process finds out about its data and its sampler on the way."""

from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from star_engine.config.star import StarConfig
from star_engine.diagnostics.token_parity import TokenMismatch
from star_engine.loop import PhaseName
from star_engine.protocols import SampleRequest, TrainingText
from star_engine.run import Event, run_star
from star_engine.run_directory import RunDirectory
from star_engine.tasks.examples import Example, FewShotExample, PromptSet
from star_engine.tasks.kind import Kind
from star_engine.tasks.programs.execution import using_runner
from star_engine.testing.fakes import RecordingTrainer, ScriptedSampler, addition_pupil
from tests.star_engine.addition import ADDITION, additions
from tests.star_engine.test_run import BASE, HELD_OUT, TRAIN, Bench, config
from worker.sandbox.monty import MontyRunner


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
        def training_token_ids(self, texts: Sequence[str | TrainingText]) -> list[list[int]]:
            return [[*ids, 0] for ids in super().training_token_ids(texts)]

    sampler, trainer = ScriptedSampler(addition_pupil()), Other(addition_pupil())
    with pytest.raises(TokenMismatch, match="tokenize a text differently"):
        list(run_star(config(), TRAIN, HELD_OUT, ADDITION, sampler, trainer, tmp_path, base=BASE))
    assert trainer.runs == []


def test_tries_with_words_of_a_tool_are_compared_in_their_parts(tmp_path: Path) -> None:
    class Joining(RecordingTrainer):
        """Tokenizes a text with a tool's output at one go, as a trainer must not."""

        def training_token_ids(self, texts: Sequence[str | TrainingText]) -> list[list[int]]:
            whole = [one if isinstance(one, str) else one.prompt + one.completion for one in texts]
            return super().training_token_ids(whole)

    call, output = " Let me compute.\n```python\nprint(3 + 4)\n```\n", "```output\n7\n```\n"

    def script(request: SampleRequest, _adapter: Path | None) -> str:
        if request.prompt.endswith(output):
            return "#### 7"
        return call

    settings = StarConfig.model_validate(
        {
            "kind": "numeric",
            "iterations": 1,
            "rationalization": {"enabled": False},
            "tools": {"python": {}},
            "training_set": {"min_kept": 1, "filters": []},
            "audits": {"spark_level": None},
        }
    )
    asked = [Example(f"e{n}", f"What is {n} plus {7 - n}?", "7") for n in range(6)]
    shown = PromptSet(Kind.NUMERIC, (FewShotExample("What is 1 plus 1?", "It is 2.\n#### 2", "2"),))
    with closing(MontyRunner(1)) as runner, using_runner(runner):
        for trainer in (RecordingTrainer(script), Joining(script)):
            where = tmp_path / type(trainer).__name__
            run = run_star(
                settings, asked[:4], asked[4:], shown, ScriptedSampler(script), trainer, where, base=BASE
            )
            if isinstance(trainer, Joining):
                with pytest.raises(TokenMismatch, match=r"ending in '.*#### 7'"):
                    list(run)
            else:
                list(run)
                assert trainer.runs[0].rows[0].turns == (
                    (0, None),
                    (len(call), None),
                    (len(call + output), None),
                )


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
