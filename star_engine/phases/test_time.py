"""Test time: k answers to each held-out question, scored, and the accuracy that k of them come to."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from star_engine.adapters.model_card import state_receipt
from star_engine.config.evaluation import TestTime
from star_engine.config.star import StarConfig
from star_engine.data.overlap import without_few_shot
from star_engine.evaluation.candidates import (
    GENERATOR,
    REFERENCE,
    VERIFIER,
    Candidate,
    CandidateKey,
    Scored,
    candidate_mode,
    candidate_params,
    own_text,
    plan_candidates,
    question_curves,
    said_text,
    score_distinct,
    summary,
)
from star_engine.evaluation.yes_no import score_yes_no
from star_engine.loop import PhaseName
from star_engine.phases.phase import Alone, Ask, Asked, Context, Phase, Progress, Sizes, Slice, Work, divided
from star_engine.protocols import TrainingText
from star_engine.record import CandidateRecord, Counts
from star_engine.tasks.examples import Example
from star_engine.tasks.programs.tool_use import ToolUse
from star_engine.training_set.rows import training_prompt

# Questions in a step, as a share of an evaluation's: enough that steps are not all overhead.
FEWEST_QUESTIONS = 8


def settings_of(config: StarConfig) -> TestTime:
    """The settings of a run that has the phase."""
    if config.evaluation.test_time is None:
        raise ValueError("evaluation.test_time is not set: the run has no phase test_time")
    return config.evaluation.test_time


def _run(context: Context) -> Work:
    config, test_time = context.config, settings_of(context.config)
    record = context.record.candidates()
    examples = without_few_shot(context.prompt_set, record.examples())
    known = {one.key for one in record.recorded()}
    total, done = len(examples) * test_time.samples, len(known)

    def add(batch: Sequence[Candidate]) -> Progress:
        nonlocal done
        record.add(batch)
        done += len(batch)
        return Progress(done, total, "answers")

    yield Progress(done, total, "answers")
    plan = plan_candidates(config, test_time, context.prompt_set, examples, context.iteration, known)
    yield Ask(plan, context.iteration, add)
    scorers: tuple[str, ...] = ()
    if "best_of" in test_time.methods:
        yield Alone()
        yield from _score(context, record)
        scorers = (GENERATOR, *(yield from _rank(context, test_time, record)))
    by_example: dict[str, list[Candidate]] = defaultdict(list)
    for one in record.recorded():
        by_example[one.key.example_id].append(one)
    record.finish(
        [question_curves(test_time, example.id, by_example[example.id], scorers) for example in examples],
        partial(state_receipt, iteration=context.iteration, config=config) if context.iteration else None,
    )


def _score(context: Context, record: CandidateRecord) -> Iterator[Progress]:
    """How likely the answering model finds its own answers: what any verifier has to beat."""
    config = context.config
    asked = {example.id: example for example in record.examples()}
    open_: list[tuple[CandidateKey, TrainingText, bool]] = []
    for one in record.recorded():
        if GENERATOR not in one.scores:
            example = asked[one.key.example_id]
            text, ended = own_text(config, context.prompt_set, example, one, context.iteration)
            open_.append((one.key, text, ended))
    if open_:
        scorer = context.gpu.sampler(context.iteration)
        yield from _keep(record, GENERATOR, score_distinct(scorer, open_), len(open_))


def _rank(
    context: Context, test_time: TestTime, record: CandidateRecord
) -> Generator[Progress, None, tuple[str, ...]]:
    """Let the verifier score the answers, where there is one; the names of the scores that it gives."""
    verifier = None if test_time.ranker is None else context.record.verifier(test_time.ranker)
    if verifier is None:
        return ()
    name = VERIFIER if test_time.ranker == VERIFIER else str(test_time.ranker)
    yield from _judge(context, record, name, verifier.folder, verifier.method)
    if name != VERIFIER or verifier.method != "dpo":
        return (name,)
    yield from _judge(context, record, REFERENCE, verifier.reference, verifier.method)
    return (name, REFERENCE)


def _judge(
    context: Context, record: CandidateRecord, name: str, adapter: Path | None, method: str
) -> Iterator[Progress]:
    """What this adapter says of the answers that it has not scored, each behind its bare question."""
    asked = {example.id: example for example in record.examples()}
    open_ = [
        (one.key, as_a_verifier_reads(context, asked[one.key.example_id], one.text, one.tools))
        for one in record.recorded()
        if name not in one.scores and one.text.strip()
    ]
    if not open_:
        return
    scorer = context.gpu.scorer(adapter)
    found = score_yes_no(scorer, open_) if method == "yes_no" else score_distinct(scorer, _ended(open_))
    yield from _keep(record, name, found, len(open_))


def as_a_verifier_reads(
    context: Context, example: Example, text: str, tools: ToolUse | None = None
) -> TrainingText:
    """An answer as a verifier reads it: behind the prompt that verifiers are trained with."""
    prompt = training_prompt(context.config, context.prompt_set, example)
    read = said_text(context.config, context.prompt_set, prompt, text, tools)
    return replace(read, end=context.prompt_set.end)


def _ended(
    texts: Sequence[tuple[CandidateKey, TrainingText]],
) -> list[tuple[CandidateKey, TrainingText, bool]]:
    return [(key, text, True) for key, text in texts]


def _keep(
    record: CandidateRecord, name: str, scores: Iterable[dict[CandidateKey, Scored]], total: int
) -> Iterator[Progress]:
    done = 0
    for found in scores:
        record.add_scores(name, found)
        done += len(found)
        yield Progress(done, total, "scores")


def _slices(config: StarConfig, iteration: int, sizes: Sizes, size: int) -> Iterator[Slice]:
    """With fewer questions in a step than an evaluation has, since each takes many answers."""
    questions = max(min(size, FEWEST_QUESTIONS), size // settings_of(config).samples)
    return divided(sizes.held_out(None), questions, candidate_mode(iteration), None)


def _asks(config: StarConfig, iteration: int, part: Slice) -> Asked:
    return Asked(iteration, candidate_params(config, settings_of(config), iteration))


def _metrics(config: StarConfig, counts: Counts) -> dict[str, Any]:
    return {"test_time": summary(settings_of(config), counts.question_curves())}


TEST_TIME = Phase(PhaseName.TEST_TIME, _run, _slices, _metrics, _asks)
