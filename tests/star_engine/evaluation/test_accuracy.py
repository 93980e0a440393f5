from pathlib import Path

import pytest

from star_engine.config.evaluation import Evaluation
from star_engine.config.star import Generation, StarConfig
from star_engine.data.prompts import render_completion
from star_engine.evaluation.accuracy import (
    EvaluatedAnswer,
    EvaluationMode,
    evaluate,
    evaluation_params,
    evaluation_prompt,
    select_held_out,
    summarise,
)
from star_engine.protocols import SampleRequest
from star_engine.tasks.examples import Example, PromptSet
from star_engine.tasks.kind import Kind
from star_engine.testing.fakes import ScriptedSampler, addition_pupil
from tests.star_engine.addition import ADDITION, additions

CONFIG = StarConfig(kind=Kind.SCRATCHPAD)
HELD_OUT = additions(digits=(1, 2, 3), each=20)


def run(mode: EvaluationMode, done: frozenset[str] = frozenset()) -> list[EvaluatedAnswer]:
    sampler = ScriptedSampler(addition_pupil(), order="shuffled")
    return list(evaluate(sampler, CONFIG, ADDITION, HELD_OUT, mode, 0, done))


def test_accuracy_is_counted_overall_and_per_group() -> None:
    accuracy = summarise(run(EvaluationMode.FEW_SHOT_COT))
    assert list(accuracy.groups) == ["1", "2", "3"]
    assert accuracy.groups["1"].accuracy == 1.0
    assert accuracy.groups["3"].accuracy < 0.5
    assert accuracy.overall.n == 60
    assert accuracy.overall.correct == sum(tally.correct for tally in accuracy.groups.values())
    assert accuracy.accuracy == accuracy.overall.correct / 60


def test_only_what_is_not_done_is_asked() -> None:
    answers = run(EvaluationMode.FEW_SHOT_COT)
    done = frozenset(answer.example_id for answer in answers[:25])
    again = run(EvaluationMode.FEW_SHOT_COT, done)
    assert len(again) == 35
    assert {a.example_id for a in again} == {e.id for e in HELD_OUT} - done


def test_direct_answers_are_verified_as_direct() -> None:
    direct = {e.id: e.answer for e in HELD_OUT}
    by_prompt = {
        evaluation_prompt(CONFIG, ADDITION, e, EvaluationMode.FEW_SHOT_DIRECT, 0): e.id for e in HELD_OUT
    }

    def script(request: SampleRequest, _adapter: Path | None) -> str:
        return render_completion(Kind.SCRATCHPAD, direct[by_prompt[request.prompt]])

    answers = evaluate(
        ScriptedSampler(script), CONFIG, ADDITION, HELD_OUT, EvaluationMode.FEW_SHOT_DIRECT, 0, set()
    )
    assert summarise(answers).accuracy == 1.0


def test_the_adapter_is_asked_as_the_next_iteration_samples() -> None:
    example = HELD_OUT[0]
    always, first = CONFIG, CONFIG.model_copy(update={"generation": Generation(few_shot="first_iteration")})
    prompts = [
        evaluation_prompt(config, ADDITION, example, EvaluationMode.ADAPTER, iteration=1)
        for config in (always, first)
    ]
    assert prompts[0].count("Input:") > 1
    assert prompts[1] == f"Input:\n{example.question}\nTarget:"
    cot = evaluation_prompt(first, ADDITION, example, EvaluationMode.FEW_SHOT_COT, iteration=0)
    assert cot == prompts[0]


def test_evaluation_is_greedy_whatever_the_job_samples_with() -> None:
    hot = StarConfig(kind=Kind.NUMERIC, generation=Generation(temperature=1.0, top_k=40, max_tokens=300))
    params = evaluation_params(hot, EvaluationMode.ADAPTER)
    assert (params.temperature, params.top_k, params.max_tokens) == (0.0, 0, 300)
    assert evaluation_params(hot, EvaluationMode.FEW_SHOT_DIRECT).max_tokens == 64


def test_the_same_held_out_examples_are_asked_in_every_iteration() -> None:
    few = CONFIG.model_copy(update={"evaluation": Evaluation(max_examples=10)})
    assert len(select_held_out(few, 60)) == 10
    assert select_held_out(few, 60) == select_held_out(few, 60)
    assert select_held_out(CONFIG, 60) == list(range(60))


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("\n<scratch>\n</scratch>\n2", "correct"),
        ("\n<scratch>\n</scratch>\n3", "wrong"),
        ("\nI do not know.", "unparsed"),
        ("\n" + "1 " * 300, "truncated"),
        ("\n<scratch>\n</scratch>\n2\n3", "ambiguous"),
    ],
)
def test_every_outcome_is_counted_apart(text: str, field: str) -> None:
    example = Example("one", "1 + 1", "2")
    prompt_set = PromptSet(Kind.SCRATCHPAD, ())
    sampler = ScriptedSampler(lambda *_: text)
    tally = summarise(
        evaluate(sampler, CONFIG, prompt_set, [example], EvaluationMode.ADAPTER, 1, set())
    ).overall
    counts = {"correct", "wrong", "unparsed", "truncated", "ambiguous", "error"}
    assert {name: getattr(tally, name) for name in counts} == {name: int(name == field) for name in counts}
    assert tally.n == 1


def test_nothing_asked_is_no_accuracy() -> None:
    assert summarise([]).accuracy == 0.0
