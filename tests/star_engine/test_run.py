import json
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from star_engine.adapters.layout import BaseModel, check_layout
from star_engine.config.evaluation import Evaluation
from star_engine.config.lora import Lora
from star_engine.config.schedules import EpochsSchedule, LinearSchedule
from star_engine.config.star import (
    Generation,
    Rationalization,
    StarConfig,
    StopRule,
    Training,
)
from star_engine.config.training_set import TrainingSetOptions
from star_engine.data.overlap import without_few_shot
from star_engine.evaluation.accuracy import EvaluationMode
from star_engine.loop import ITERATION_PHASES, PhaseName
from star_engine.protocols import BadAdapter, SampleRequest, TrainingJob, TrainingProgress
from star_engine.run import Event, run_star
from star_engine.run_directory import OtherRun, RunDirectory
from star_engine.tasks.examples import Example, PromptSet
from star_engine.tasks.kind import Kind
from star_engine.testing.fakes import (
    Order,
    RecordingTrainer,
    Script,
    ScriptedSampler,
    addition_pupil,
    write_adapter,
)
from star_engine.training_set.rows import training_set_sha256
from tests.star_engine.addition import ADDITION, additions

TRAIN = additions(digits=(1, 2, 3), each=12)
HELD_OUT = additions(digits=(1, 2, 3), each=8, seed=5)
BASE = BaseModel("tiny-addition", "r1")


def config(**settings: object) -> StarConfig:
    defaults = {
        "kind": Kind.SCRATCHPAD,
        "iterations": 2,
        "training": Training(schedule=LinearSchedule(start=6, add=2), checkpoint_every=2, lora=Lora(rank=2)),
    }
    return StarConfig.model_validate(defaults | settings)


class Bench:
    """A sampler and a trainer on one script, as a service's worker would hold them."""

    def __init__(self, directory: Path, script: Script | None = None) -> None:
        self.script = script or addition_pupil()
        self.directory = directory
        self.restart()

    def restart(self, fail_after: int | None = None) -> None:
        self.calls = 0
        self.fail_after = fail_after
        self.sampler = ScriptedSampler(
            self.script, batch=4, order="shuffled", before_completion=lambda _key: self._tick()
        )
        self.trainer = RecordingTrainer(self.script, before_step=lambda _step: self._tick())

    def _tick(self) -> None:
        if self.fail_after is not None and self.calls >= self.fail_after:
            raise KeyboardInterrupt
        self.calls += 1

    def run(self, settings: StarConfig) -> Iterator[Event]:
        return run_star(
            settings, TRAIN, HELD_OUT, ADDITION, self.sampler, self.trainer, self.directory, base=BASE
        )


def finished(events: list[Event]) -> list[tuple[int, str]]:
    return [(e.iteration, str(e.phase)) for e in events if e.name == "phase_finished"]


def test_a_whole_run_climbs_with_rationalization(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    events = list(bench.run(config()))
    assert finished(events) == [
        (0, "baselines"),
        *((n, str(name)) for n in (1, 2) for name in ITERATION_PHASES),
    ]
    assert (events[-1].name, events[-1].facts["reason"]) == ("stopped", "completed_iterations")
    history = {record.number: record for record in RunDirectory(tmp_path).history()}
    assert history[0].accuracy is not None
    assert history[0].accuracy < 0.7
    assert (history[1].accuracy, history[2].accuracy) == (1.0, 1.0)
    assert history[1].solve_rate is not None
    assert history[1].solve_rate < 1.0
    assert history[2].solve_rate == 1.0
    for number in (1, 2):
        adapter = RunDirectory(tmp_path).adapter(number)
        check_layout(adapter)
        measured = json.loads((adapter / "manifest.json").read_text())["evaluation"]
        receipt = measured.pop("receipt")
        assert measured == {"split": "validation", "n": 24, "correct": 24, "accuracy": 1.0}
        few_shot = round(24 * history[0].accuracy)
        [claim] = [one for one in receipt["claims"] if one["kind"] == "few_shot"]
        assert (claim["difference"]["gained"], claim["difference"]["lost"]) == (24 - few_shot, 0)
        assert receipt["not_run"][-2:] == ["majority_vote", "direct_fine_tuning"]
        card = (adapter / "README.md").read_text()
        assert "| held-out accuracy | 100.0% (24 of 24 of the split validation) |" in card
        assert receipt["sentence"] in card
        assert "| few-shot prompting with rationales | 24 |" in card


def test_held_out_questions_that_the_prompt_set_shows_are_asked_by_no_evaluation(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    shown = [
        Example(f"shown-{n}", one.question, one.answer, group=one.group)
        for n, one in enumerate(ADDITION.examples)
    ]
    held_out = [*HELD_OUT, *shown]
    list(run_star(config(iterations=1), TRAIN, held_out, ADDITION, bench.sampler, bench.trainer, tmp_path))
    wanted = {one.id for one in without_few_shot(ADDITION, held_out)}
    assert len(wanted) < len(held_out)
    record = RunDirectory(tmp_path)
    for iteration, mode in ((0, EvaluationMode.FEW_SHOT_COT), (1, EvaluationMode.ADAPTER)):
        assert {one.example_id for one in record.answers(iteration, mode)} == wanted


def test_without_rationalization_only_the_known_is_learned(tmp_path: Path) -> None:
    events = list(Bench(tmp_path).run(config(rationalization=Rationalization(enabled=False))))
    assert {one.key.route for one in RunDirectory(tmp_path).rationales(1)} == {"generated"}
    built = next(e.facts for e in events if e.name == "phase_finished" and e.phase is PhaseName.BUILD)
    assert built["kept"]["rationalized"] == built["coverage"]["rationalized"] == 0
    assert built["coverage"]["generated"] == round(built["kept"]["generated"] / len(TRAIN), 6) < 1


def test_training_always_starts_from_the_base_model_unless_asked(tmp_path: Path) -> None:
    for start_from in ("base", "previous"):
        bench = Bench(tmp_path / start_from)
        training = config().training.model_copy(update={"start_from": start_from})
        list(bench.run(config(training=training)))
        first, second = bench.trainer.runs
        assert first.start is None
        assert second.start == (None if start_from == "base" else bench.directory / "iteration-1" / "adapter")
        assert (first.steps, second.steps) == (6, 8)
        assert first.seed != second.seed


def test_the_trained_texts_are_the_recorded_training_set_and_carry_no_hint(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    list(bench.run(config()))
    record = RunDirectory(tmp_path)
    rows = record.training_set(1)
    assert [(r.prompt, r.completion) for r in rows] == [
        (t.prompt, t.completion) for t in bench.trainer.runs[0].rows
    ]
    assert any(row.key.route == "rationalized" for row in rows)
    assert all(row.prompt.endswith("\nTarget:") and row.prompt.count("Input:") == 1 for row in rows)
    manifest = json.loads((record.adapter(1) / "manifest.json").read_text())
    assert manifest["training_set_sha256"] == training_set_sha256(rows)
    assert manifest["base_model"] == {"id": "tiny-addition", "revision": "r1", "files": {}}


def test_earlier_training_sets_are_trained_on_too_where_the_window_says_so(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    options = TrainingSetOptions(window="all", dedupe=False)
    list(bench.run(config(training_set=options)))
    first, second = (RunDirectory(tmp_path).training_set(number) for number in (1, 2))
    trained = [[text.completion for text in run.rows] for run in bench.trainer.runs]
    assert trained[0] == [row.completion for row in first]
    assert trained[1] == [row.completion for row in (*second, *first)]
    manifest = json.loads((RunDirectory(tmp_path).adapter(2) / "manifest.json").read_text())
    assert manifest["training"]["training_examples"] == len(first) + len(second)
    named = [(entry["iteration"], entry["sha256"]) for entry in manifest["training_sets"]]
    assert named == [(1, training_set_sha256(first)), (2, training_set_sha256(second))]
    assert manifest["training"]["started_from"] == "base"
    assert manifest["optimizer"] == "AdamW, fresh in this iteration"


def test_epochs_are_counted_on_what_is_trained_on(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    training = config().training.model_copy(update={"schedule": EpochsSchedule(epochs=2), "batch_size": 5})
    list(bench.run(config(training=training)))
    for number, run in enumerate(bench.trainer.runs, start=1):
        assert run.steps == -(-2 * len(run.rows) // 5)
        manifest = json.loads((RunDirectory(tmp_path).adapter(number) / "manifest.json").read_text())
        assert manifest["training"]["steps"] == run.steps


def test_a_run_killed_anywhere_goes_on_and_ends_the_same(tmp_path: Path) -> None:
    whole = Bench(tmp_path / "whole")
    list(whole.run(config()))
    total = whole.calls
    expected = _outcome(whole.directory)
    for fail_after in range(1, total, 37):
        bench = Bench(tmp_path / f"killed-{fail_after}")
        bench.restart(fail_after)
        with pytest.raises(KeyboardInterrupt):
            list(bench.run(config()))
        bench.restart()
        events = list(bench.run(config()))
        assert events[-1].name == "stopped"
        assert _outcome(bench.directory) == expected
        # At most the last checkpoint's steps, or the tries that are generated twice, are done again.
        assert bench.calls <= total - fail_after + max(2, config().audits.determinism)


def test_sampling_beside_the_evaluation_records_what_sampling_after_it_does(tmp_path: Path) -> None:
    """A target that is never reached makes the second run wait for each accuracy."""
    pupil = addition_pupil()

    def stubborn(request: SampleRequest, adapter: Path | None) -> str:
        unknown = request.prompt.endswith(f"Input:\n{HELD_OUT[-1].question}\nTarget:")
        return "\nI do not know that one." if unknown else pupil(request, adapter)

    beside, after = Bench(tmp_path / "beside", stubborn), Bench(tmp_path / "after", stubborn)
    first = list(beside.run(config(iterations=3)))
    second = list(after.run(config(iterations=3, stop=StopRule(target_accuracy=1.0))))
    ahead = _tries_before_the_end_of_evaluation(first)
    assert ahead[0] >= len(TRAIN)
    assert ahead[1] >= len(TRAIN)
    assert ahead[2:] == _tries_before_the_end_of_evaluation(second)[2:] == [0]
    assert _tries_before_the_end_of_evaluation(second) == [0, 0, 0]
    assert finished(first) == finished(second)
    assert _outcome(beside.directory) == _outcome(after.directory)
    record, other = RunDirectory(beside.directory), RunDirectory(after.directory)
    for number in (1, 2, 3):
        answers = [sorted(map(repr, one.answers(number, EvaluationMode.ADAPTER))) for one in (record, other)]
        assert answers[0] == answers[1] != []


def _tries_before_the_end_of_evaluation(events: list[Event]) -> list[int]:
    """Of each iteration's evaluation: how many tries of the next iteration came before its end."""
    ends = [
        number
        for number, event in enumerate(events)
        if event.name == "phase_finished" and event.phase is PhaseName.EVALUATE
    ]
    return [
        sum(
            e.phase is PhaseName.SAMPLE and e.iteration == turn + 1
            for e in events[:end]
            if e.name == "progress"
        )
        for turn, end in enumerate(ends, start=1)
    ]


def _outcome(directory: Path) -> object:
    record = RunDirectory(directory)
    tries = [sorted((r.key.example_id, r.key.route, r.text) for r in record.rationales(n)) for n in (1, 2)]
    sets = [training_set_sha256(record.training_set(n)) for n in (1, 2)]
    history = sorted(record.history(), key=lambda known: known.number)
    return tries, sets, history


def test_a_killed_training_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    for event in bench.run(config()):
        if event.phase is PhaseName.TRAIN and event.facts.get("done") == 5:
            break
    bench.restart()
    list(bench.run(config()))
    assert bench.trainer.runs[0].resumed_from == 4
    curve = RunDirectory(tmp_path).curve(1)
    assert [one.step for one in curve] == list(range(1, curve[-1].steps + 1))
    assert [one.loss for one in curve] == [1 / one.step for one in curve]


def test_a_torn_last_line_is_written_again(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    for event in bench.run(config()):
        if event.phase is PhaseName.SAMPLE and event.facts.get("done") == 5:
            break
    path = RunDirectory(tmp_path).rationales_path(1)
    path.write_bytes(path.read_bytes()[:-9])
    bench.restart()
    list(bench.run(config()))
    keys = [r.key for r in RunDirectory(tmp_path).rationales(1)]
    assert len(keys) == len(set(keys))
    assert {key.example_id for key in keys} == {example.id for example in TRAIN}


def test_nothing_kept_pauses_with_a_diagnosis_and_changed_settings_resume(tmp_path: Path) -> None:
    def silent(*_: object) -> str:
        return "\nI would rather not say."

    bench = Bench(tmp_path, silent)
    first = list(bench.run(config()))
    assert (first[-1].name, first[-1].facts["reason"]) == ("paused", "no_spark")
    assert "0 of 24 held-out examples" in first[-1].facts["diagnosis"]
    events = list(bench.run(config(audits={"spark_level": None})))
    assert (events[-1].name, events[-1].facts["reason"]) == ("paused", "insufficient_kept")
    assert events[-1].facts["diagnosis"].startswith("0 of 72 rationales were kept; dropped: 72 unparsed.")
    assert bench.trainer.runs == []


def test_another_run_is_never_mixed_into_a_directory(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    next(bench.run(config()))
    with pytest.raises(OtherRun, match="other settings"):
        next(bench.run(config(seed=1)))
    with pytest.raises(OtherRun, match="other data"):
        next(
            run_star(
                config(), TRAIN[1:], HELD_OUT, ADDITION, bench.sampler, bench.trainer, tmp_path, base=BASE
            )
        )


def test_a_run_goes_on_that_was_begun_before_examples_had_earlier_turns(tmp_path: Path) -> None:
    example = Example("a", "1 + 2", "3", split="train")
    RunDirectory(tmp_path).begin(config(), [example], [], PromptSet(Kind.SCRATCHPAD, ()))
    fields = {"id": "a", "question": "1 + 2", "answer": "3", "choices": None, "group": None}
    data = [[{**fields, "split": "train", "solution": None}], [], []]
    recorded = json.loads((tmp_path / "run.json").read_text())["data_sha256"]
    assert recorded == sha256(json.dumps(data).encode()).hexdigest()


def test_a_finished_run_may_be_extended(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    list(bench.run(config()))
    events = list(bench.run(config(iterations=3)))
    assert finished(events) == [(3, str(name)) for name in ITERATION_PHASES]
    assert next(bench.run(config(iterations=3))).name == "stopped"


def test_the_target_accuracy_ends_a_run_early(tmp_path: Path) -> None:
    events = list(Bench(tmp_path).run(config(iterations=9, stop=StopRule(target_accuracy=1.0))))
    assert events[-1].facts["reason"] == "target_reached"
    assert finished(events)[-1] == (1, "evaluate")


def test_an_adapter_that_changes_nothing_is_not_published(tmp_path: Path) -> None:
    class Lazy(RecordingTrainer):
        def train(self, job: TrainingJob) -> Iterator[TrainingProgress]:
            yield from super().train(job)
            write_adapter(job.out, value=0.0)

    script = addition_pupil()
    events = run_star(
        config(), TRAIN, HELD_OUT, ADDITION, ScriptedSampler(script), Lazy(script), tmp_path, base=BASE
    )
    with pytest.raises(BadAdapter, match="zero"):
        list(events)
    assert not (tmp_path / "iteration-1" / "adapter" / "manifest.json").exists()


def test_same_seed_same_training_set_whatever_the_order_of_completions(tmp_path: Path) -> None:
    hot = config(generation=Generation(temperature=0.8, samples_per_example=3), examples_per_iteration=20)
    shas = set()
    orders: tuple[Order, ...] = ("first", "last", "shuffled")
    for order in orders:
        sampler = ScriptedSampler(addition_pupil(), batch=3, order=order)
        trainer = RecordingTrainer(addition_pupil())
        list(run_star(hot, TRAIN, HELD_OUT, ADDITION, sampler, trainer, tmp_path / order, base=BASE))
        shas.add(training_set_sha256(RunDirectory(tmp_path / order).training_set(2)))
    assert len(shas) == 1


def test_only_the_chosen_held_out_examples_are_asked(tmp_path: Path) -> None:
    few = config(iterations=1, evaluation=Evaluation(max_examples=5, baselines=("few_shot_cot",)))
    list(Bench(tmp_path).run(few))
    lines = (tmp_path / "iteration-1" / "evaluation.jsonl").read_text().splitlines()
    assert len(lines) == 5
    assert sorted(p.name for p in (tmp_path / "baselines").iterdir()) == ["few_shot_cot.jsonl"]
