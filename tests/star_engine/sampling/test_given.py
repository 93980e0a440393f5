"""Training on what the dataset gives: answers alone (direct fine-tuning) or worked solutions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from star_engine.config.presets import direct_fine_tune, gold_rationale_fine_tune
from star_engine.config.star import StarConfig
from star_engine.data.validation import Unfit
from star_engine.evaluation.accuracy import EvaluationMode, evaluation_params, evaluation_prompt
from star_engine.protocols import SampleRequest
from star_engine.run import Event, run_star
from star_engine.run_directory import RunDirectory
from star_engine.sampling.rationales import Route, given_rationales
from star_engine.tasks.examples import Example
from star_engine.tasks.kind import Kind
from star_engine.tasks.registry import task_of
from star_engine.testing.fakes import RecordingTrainer, Script, ScriptedSampler
from tests.star_engine.capitals import CAPITALS, examples, few_shot, reasons

TRAIN = [replace(e, solution=reasons(e.id, e.answer, Kind.EXACT)) for e in examples()[:4]]
HELD_OUT = examples()[4:]


def given(source: str, **settings: Any) -> StarConfig:
    defaults: dict[str, Any] = {
        "kind": "exact",
        "iterations": 1,
        "rationalization": {"enabled": False},
        "training_set": {"source": source, "filters": []},
        "training": {"schedule": {"kind": "fixed", "steps": 2}, "lora": {"rank": 2}},
        "audits": {"spark_level": None},
    }
    return StarConfig.model_validate(defaults | settings)


def student(source: str) -> Script:
    """Knows capitals only once it is trained, and answers in the form of what it is trained on."""

    def answer(request: SampleRequest, adapter: Path | None) -> str:
        country = next(name for name in CAPITALS if name in request.prompt.rpartition("Q: ")[2])
        city = CAPITALS[country] if adapter else "Atlantis"
        return " " + (city if source == "answers" else reasons(country, city, Kind.EXACT))

    return answer


def run(
    settings: StarConfig, folder: Path, train: Sequence[Example] = TRAIN
) -> tuple[list[Event], ScriptedSampler, RecordingTrainer]:
    script = student(str(settings.training_set.source))
    sampler, trainer = ScriptedSampler(script), RecordingTrainer(script)
    events = list(run_star(settings, train, HELD_OUT, few_shot(Kind.EXACT), sampler, trainer, folder))
    return events, sampler, trainer


@pytest.mark.parametrize(
    ("source", "completion"),
    [
        ("answers", lambda example: f" {example.answer}"),
        ("solutions", lambda example: f" {example.solution}"),
    ],
)
def test_what_the_dataset_gives_is_trained_on_behind_the_bare_question(
    source: str, completion: Callable[[Example], str], tmp_path: Path
) -> None:
    events, sampler, trainer = run(given(source), tmp_path)
    assert events[-1].facts["reason"] == "completed_iterations"
    rows = [(row.prompt, row.completion) for row in trainer.runs[0].rows]
    assert rows == [(f"Q: {example.question}\nA:", completion(example)) for example in TRAIN]
    assert not [request for request in sampler.requests if request.key.startswith(("generated", "rational"))]
    built = next(event for event in events if event.phase == "build" and event.name == "phase_finished")
    assert built.facts["coverage"] == {"given": 1.0, "total": 1.0}
    assert built.facts["funnel"]["given"]["trained"] == 4
    record = RunDirectory(tmp_path)
    assert {(one.key.route, one.verdict, one.tokens) for one in record.rationales(1)} == {
        (Route.GIVEN, "correct", 0)
    }
    assert [known.solve_rate for known in record.history()] == [None, None]
    assert record.history()[1].accuracy == 1.0
    assert f"{len(TRAIN)} given texts of 4 examples" in (record.adapter(1) / "README.md").read_text()


def test_a_model_trained_on_answers_is_asked_for_the_answer_alone() -> None:
    shown, example = few_shot(Kind.EXACT), HELD_OUT[0]
    bare = f"Q: {example.question}\nA:"
    for source in ("answers", "solutions"):
        assert evaluation_prompt(given(source), shown, example, EvaluationMode.ADAPTER, 1) == bare
    settings = given("answers", training_set={"source": "answers", "filters": [], "few_shot_in_prompt": True})
    prompt = evaluation_prompt(settings, shown, example, EvaluationMode.ADAPTER, 1)
    assert prompt == f"Q: {shown.examples[0].question}\nA: Santiago\n\n{bare}"
    limits = {
        s: evaluation_params(given(s), EvaluationMode.ADAPTER).max_tokens for s in ("answers", "solutions")
    }
    assert limits == {"answers": 64, "solutions": 256}


def test_a_solution_that_leads_elsewhere_is_recorded_and_not_trained_on(tmp_path: Path) -> None:
    wrong = replace(TRAIN[0], solution=reasons("France", "Lyon", Kind.EXACT))
    unread = replace(TRAIN[1], solution="It has a fjord.")
    events, _, trainer = run(given("solutions"), tmp_path, [wrong, unread, *TRAIN[2:]])
    assert events[-1].name == "stopped"
    assert [row.prompt for row in trainer.runs[0].rows] == [f"Q: {e.question}\nA:" for e in TRAIN[2:]]
    verdicts = {one.key.example_id: str(one.verdict) for one in RunDirectory(tmp_path).rationales(1)}
    assert verdicts == {"France": "wrong", "Norway": "unparsed", "Japan": "correct", "Kenya": "correct"}


def test_a_resumed_step_gives_only_what_is_missing() -> None:
    first, *rest = given_rationales(given("answers"), TRAIN, {})
    again = list(given_rationales(given("answers"), TRAIN, {first.key: first.verdict}))
    assert again == rest


ANSWERED = [kind for kind in Kind if not task_of(kind).runs_programs and kind is not Kind.DOCUMENTS]


@pytest.mark.parametrize("kind", ANSWERED)
def test_the_answer_alone_is_right_in_every_kind(kind: Kind) -> None:
    choice = kind is Kind.CHOICE
    example = Example("x", "?", "b" if choice else "8 8", ("desk", "den") if choice else None)
    if kind in (Kind.NUMERIC, Kind.MATH):
        example = replace(example, answer="88")
    if kind is Kind.DATE:
        example = replace(example, answer="2024-03-05")
    settings = direct_fine_tune(kind)
    if kind is Kind.PATTERN:
        settings = StarConfig.model_validate(
            settings.model_dump() | {"verifier": {"pattern": r"Final answer: (\w+)"}}
        )
    [one] = given_rationales(settings, [example], {})
    assert (str(one.verdict), one.text) == ("correct", "(b)." if choice else example.answer)


def test_solutions_that_are_missing_are_named_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(Unfit, match="Example 'Peru' has no solution") as bad:
        run(given("solutions"), tmp_path, [*TRAIN, HELD_OUT[0]])
    assert bad.value.field == "config.training_set.source"


@pytest.mark.parametrize(
    ("change", "fix"),
    [
        ({"iterations": 2}, "iterations must be 1"),
        ({"rationalization": {}}, "rationalization.enabled must be false"),
        ({"generation": {"samples_per_example": 2}}, "samples_per_example must be 1"),
        ({"training_set": {"source": "answers"}}, "must not name answer_only, answer_first or too_short"),
    ],
)
def test_settings_that_sample_are_refused_where_nothing_is_sampled(change: dict[str, Any], fix: str) -> None:
    with pytest.raises(ValidationError, match=fix):
        given("answers", **change)


def test_the_presets_train_once_from_the_base_model_and_rationalize_nothing() -> None:
    for preset, source in ((direct_fine_tune, "answers"), (gold_rationale_fine_tune, "solutions")):
        for kind in Kind:
            settings = preset(kind)
            assert (settings.training_set.source, settings.iterations) == (source, 1)
            assert settings.training.start_from == "base"
            assert not settings.rationalization.enabled
