"""Faithfulness: what the iteration's adapter answers to wrong hints, and whether it needs its rationales.

Its texts are few and kept in memory: a phase that is killed asks them again, greedily, to the same end.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from star_engine.config.star import StarConfig
from star_engine.data.overlap import without_few_shot
from star_engine.data.selection import chance
from star_engine.diagnostics.faithfulness import (
    Hinted,
    Part,
    answers_after,
    answers_by_sentence,
    dependence_figures,
    hint_figures,
    outcome_of,
)
from star_engine.evaluation.candidates import IMPOSSIBLE, scores_that_fit
from star_engine.loop import PhaseName
from star_engine.phases.phase import Alone, Ask, Context, Phase, Progress, Work
from star_engine.protocols import (
    Completion,
    SampleRequest,
    SamplingParams,
    Scorer,
    ScoreRequest,
    TrainingText,
)
from star_engine.sampling.answers import Answer, judge, judge_text
from star_engine.sampling.rationales import (
    Rationale,
    RationaleKey,
    Route,
    rationale_prompt,
    sampling_params,
)
from star_engine.tasks.examples import Example, PromptSet
from star_engine.tasks.verdict import VerdictCode
from star_engine.training_set.taught import with_other_answers

TRIES_PER_CALL = 4  # of the scorer: a text for each sentence
QUESTIONS_PER_CALL = 16  # of the scorer: three texts of each


@dataclass(frozen=True, slots=True)
class _Said:
    """A text for a question, asked with a hint (a wrong one) or without."""

    example: Example
    hinted: bool
    answer: Answer


@dataclass(frozen=True, slots=True)
class _Plan:
    """Each question without a hint and with a wrong one, greedily, as an iteration behind this one would."""

    config: StarConfig
    prompt_set: PromptSet
    params: SamplingParams
    asked: Mapping[str, tuple[Example, bool]]  # by the request's key
    queue: deque[SampleRequest]

    def finish(self, completion: Completion) -> _Said:
        example, hinted = self.asked[completion.key]
        answer = judge(self.config, example, completion, opening=self.prompt_set.opening)
        return _Said(example, hinted, answer)


def _run(context: Context) -> Work:
    figures = yield from _probe(context) if context.config.audits.faithfulness else _nothing()
    if context.config.audits.sentences:
        yield Alone()
        yield from _read(context)
    context.record.finish_audit({"faithfulness": figures} if figures else {})


def _nothing() -> Generator[Progress, None, dict[str, Any]]:
    yield from ()
    return {}


def _probe(context: Context) -> Generator[Any, None, dict[str, Any]]:
    """What is said to wrong hints, and how likely right answers are without their rationales."""
    config, record = context.config, context.record
    examples = without_few_shot(context.prompt_set, record.probe_examples(config.audits.faithfulness))
    pairs = zip(examples, with_other_answers(examples), strict=True)
    others = {one.id: other for one, other in pairs if other.answer != one.answer}
    asked = [one for one in examples if one.id in others]
    said: list[_Said] = []

    def take(batch: Sequence[_Said]) -> Progress:
        said.extend(batch)
        return Progress(len(said), 2 * len(asked), "answers")

    yield Progress(0, 2 * len(asked), "answers")
    yield Ask(_plan(context, asked, others), context.iteration, take)
    plain = {one.example.id: one.answer for one in said if not one.hinted}
    right = [one for one in asked if plain[one.id].verdict == "correct"]
    hinted = {one.example.id: one.answer for one in said if one.hinted}
    found = [_hinted(config, one, others[one.id], hinted[one.id]) for one in right]
    yield Alone()
    totals = yield from _dependence(context, right, plain)
    return {"wrong_hint": hint_figures(len(asked), found), "dependence": dependence_figures(totals)}


def _read(context: Context) -> Generator[Progress]:
    """How likely the iteration's adapter finds the answers of some right tries after each sentence."""
    config, record, wanted = context.config, context.record, context.config.audits.sentences
    texts: list[tuple[RationaleKey, Mapping[int, TrainingText]]] = []
    for example, tried in _right_tries(context, wanted):
        prompt = rationale_prompt(config, context.prompt_set, example, Route.GENERATED, context.iteration + 1)
        answer = judge_text(config, example, tried.text, tried.finish_reason)
        if answer.verdict == VerdictCode.CORRECT:
            cut = answers_by_sentence(config, context.prompt_set, example, prompt, answer)
            texts += [(tried.key, cut)] if cut else []
    if not texts:
        return
    scorer = context.gpu.sampler(context.iteration)
    for first in range(0, len(texts), TRIES_PER_CALL):
        some = texts[first : first + TRIES_PER_CALL]
        record.add_readings(_readings(scorer, some))
        yield Progress(first + len(some), len(texts), "scores")


def _right_tries(context: Context, wanted: int) -> list[tuple[Example, Rationale]]:
    """One right try each of so many examples, drawn by the run's seed; unhinted ones go first."""
    seed, iteration = context.config.seed, context.iteration
    right: dict[str, Rationale] = {}
    for one in sorted(context.record.tries(), key=lambda one: (one.key.route, one.key.sample)):
        if one.verdict == VerdictCode.CORRECT and one.key.route in (Route.GENERATED, Route.RATIONALIZED):
            right.setdefault(one.key.example_id, one)
    examples = [one for one in context.record.iteration_examples() if one.id in right]
    examples.sort(key=lambda one: chance(seed, iteration, "sentences", one.id))
    return [(one, right[one.id]) for one in examples[:wanted]]


def _readings(
    scorer: Scorer, texts: Sequence[tuple[RationaleKey, Mapping[int, TrainingText]]]
) -> dict[RationaleKey, list[tuple[int, float]]]:
    """By try the places in its text, and the logarithm of its answer's probability behind each."""
    requests = [
        ScoreRequest(f"{number}/{at}", text, eos=False)
        for number, (_, cut) in enumerate(texts)
        for at, text in cut.items()
    ]
    found = {score.key: max(score.total, IMPOSSIBLE) for score in scores_that_fit(scorer, requests)}
    return {
        key: [(at, round(found[f"{number}/{at}"], 6)) for at in cut if f"{number}/{at}" in found]
        for number, (key, cut) in enumerate(texts)
    }


def _plan(context: Context, examples: Sequence[Example], others: Mapping[str, Example]) -> _Plan:
    config, iteration = context.config, context.iteration + 1
    asked: dict[str, tuple[Example, bool]] = {}
    queue: deque[SampleRequest] = deque()
    for example in examples:
        for hinted in (False, True):
            shown = others[example.id] if hinted else example
            route = Route.RATIONALIZED if hinted else Route.GENERATED
            prompt = rationale_prompt(config, context.prompt_set, shown, route, iteration)
            request = SampleRequest(f"{route}/{example.id}", prompt)
            asked[request.key] = (example, hinted)
            queue.append(request)
    greedy = replace(sampling_params(config), temperature=0.0, top_p=1.0, top_k=0)
    return _Plan(config, context.prompt_set, greedy, asked, queue)


def _hinted(config: StarConfig, example: Example, other: Example, answer: Answer) -> Hinted:
    as_hint = judge_text(config, other, answer.text, answer.finish_reason)
    return Hinted(example, other.answer, answer.extracted, outcome_of(answer.verdict, as_hint.verdict))


def _dependence(
    context: Context, right: Sequence[Example], plain: Mapping[str, Answer]
) -> Generator[Progress, None, list[Mapping[Part, float]]]:
    """How likely each right answer is behind all of its rationale, half of it, and none."""
    config, iteration = context.config, context.iteration + 1
    texts: list[Mapping[Part, TrainingText]] = []
    for example in right:
        prompt = rationale_prompt(config, context.prompt_set, example, Route.GENERATED, iteration)
        parts = answers_after(config, context.prompt_set, example, prompt, plain[example.id])
        texts += [] if parts is None else [parts]
    totals: list[Mapping[Part, float]] = []
    if texts:
        scorer = context.gpu.sampler(context.iteration)
        for first in range(0, len(texts), QUESTIONS_PER_CALL):
            totals += _totals(scorer, texts[first : first + QUESTIONS_PER_CALL])
            yield Progress(min(first + QUESTIONS_PER_CALL, len(texts)), len(texts), "scores")
    return totals


def _totals(scorer: Scorer, texts: Sequence[Mapping[Part, TrainingText]]) -> list[Mapping[Part, float]]:
    """Without the questions of which a text does not fit the model."""
    requests = [
        ScoreRequest(f"{place}/{part}", text, eos=False)
        for place, parts in enumerate(texts)
        for part, text in parts.items()
    ]
    found = {score.key: max(score.total, IMPOSSIBLE) for score in scores_that_fit(scorer, requests)}
    each = [{part: found.get(f"{place}/{part}") for part in parts} for place, parts in enumerate(texts)]
    return [
        {part: total for part, total in totals.items() if total is not None}
        for totals in each
        if None not in totals.values()
    ]


FAITHFULNESS = Phase(PhaseName.FAITHFULNESS, _run)
