"""The phases of Quiet-STaR: an iteration trains a segment, proves its adapter, measures its thoughts.

They have the names of the phases of other jobs (train, verify_adapter, evaluate) and stand in their place
where a job's method is quiet_star: see `table.phase_of`.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from star_engine.adapters.layout import (
    QUIET_LAYOUT,
    WEIGHTS,
    check_layout,
    check_weights,
    rewrite_config,
    write_manifest,
)
from star_engine.adapters.probe import PROBES, installed_versions
from star_engine.adapters.roles import AdapterRole
from star_engine.adapters.thinking import judge_thoughts, state_measured, write_quiet_card
from star_engine.config.quiet_star import QuietStar, QuietStarMethod
from star_engine.config.star import StarConfig
from star_engine.data.prompts import direct_answer, render_prompt
from star_engine.data.selection import training_seed
from star_engine.evaluation.accuracy import EvaluatedAnswer, EvaluationMode, adapter_modes, plan_answers
from star_engine.evaluation.thoughts import ZeroShot, generated_facts, worth_facts
from star_engine.evaluation.zero_shot import zero_shot_config
from star_engine.loop import PhaseName
from star_engine.phases.phase import Context, Phase, Progress, Work
from star_engine.protocols import TrainingProgress
from star_engine.record import Counts, ThoughtRecord
from star_engine.tasks.examples import Example, PromptSet, choice_letter
from star_engine.tasks.kind import Kind
from star_engine.tasks.registry import task_of
from star_engine.thoughts import AskedQuestion, QuietStep, ThoughtTraining, Worth

RECORDED_AT_ONCE = 16  # answers: what a crash can cost


def quiet_of(config: StarConfig) -> QuietStarMethod:
    """The settings of the method. Raises ValueError for a job of another one."""
    if config.quiet_star is None:
        raise ValueError("the job's method is not quiet_star")
    return config.quiet_star


def _train(context: Context) -> Work:
    record, method, number = context.record, quiet_of(context.config), context.iteration
    if record.has_weights():  # an earlier attempt recorded them and died before the phase's end
        record.finish_training(None, {})
        return
    settings, steps = method.segment(number), method.steps_in(number)
    thoughts = record.thoughts()
    yield Progress(0, steps, "steps")
    documents, count = thoughts.documents("train")
    training = ThoughtTraining(
        documents=documents,
        settings=settings,
        steps=steps,
        seed=training_seed(context.config.seed, 1),  # one order of the windows for all segments
        out=record.weights_folder(),
        checkpoints=record.checkpoints(),
        start=thoughts.adapter(number - 1),
        skip=method.windows_before(number),
    )
    began = time.monotonic()
    curve, first, last = list[TrainingProgress](), record.first_loss(), None
    for step in context.gpu.thoughts().train_thoughts(training):
        first, last = round(step.loss, 6) if first is None else first, step
        curve.append(_on_curve(step, settings))
        if step.step % settings.checkpoint_every == 0 or step.step == steps:
            record.keep_curve(curve)  # before the resume point, behind which no attempt does them again
            curve = []
        record.keep_checkpoint(step.step)
        yield Progress(step.step, steps, "steps", {"loss": round(step.loss, 6)})
    rewrite_config(training.out, record.origin().base)
    check_weights(training.out / WEIGHTS, settings.lora.rank)
    report = _report(training, count, first, last) | {"seconds": round(time.monotonic() - began, 3)}
    record.finish_training(training.out, report)


def _on_curve(step: QuietStep, settings: QuietStar) -> TrainingProgress:
    rate = settings.learning_rate * min(1.0, step.step / max(1, settings.warmup_steps))
    return TrainingProgress(
        step.step, step.steps, step.loss, step.step * step.tokens, step.grad_norm, learning_rate=rate
    )


def _report(
    training: ThoughtTraining, documents: int, first: float | None, last: QuietStep | None
) -> dict[str, Any]:
    """The report of the training. `first`: the loss of its first step."""
    settings = training.settings
    found = {
        "method": "quiet_star",
        "thoughts": str(settings.thoughts),
        "thought_tokens": settings.steps_of_thought,
        "ahead_tokens": settings.ahead_tokens,
        "steps": training.steps,
        "seed": training.seed,
        "started_from": "base" if training.start is None else "the iteration before",
        "documents": documents,
        "tokens": training.steps * settings.batch_windows * settings.window,
    }
    if first is not None and last is not None:
        found |= {"loss_first": first, "loss_last": round(last.loss, 6)}
        named = ("nll_without", "weight", "positive", "entropy", "start_norm", "end_norm")
        found |= {name: round(getattr(last, name), 6) for name in named}
        found["nll_mixed"] = [round(value, 6) for value in last.nll_mixed]
        found["checkpointed"] = last.checkpointed
    return found


def _train_metrics(config: StarConfig, counts: Counts) -> dict[str, Any]:
    return {"training": dict(counts.training(AdapterRole.QUIET))}


def _verify(context: Context) -> Work:
    record, config = context.record, context.config
    folder = record.draft()
    texts = record.thoughts().texts(PROBES)
    yield Progress(0, 1, "probes")
    verification = judge_thoughts(context.gpu.thoughts().probe_thoughts(folder, texts))
    settings, training = quiet_of(config).segment(context.iteration), record.training_report()
    origin = record.origin()
    write_quiet_card(folder, origin.base, config, context.iteration, training, origin.licence)
    facts = {
        "job": origin.job,
        "iteration": context.iteration,
        "role": str(AdapterRole.QUIET),
        "dataset": origin.dataset,
        "base_model": {
            "id": origin.base.name,
            "revision": origin.base.revision,
            "files": dict(origin.base_files),
        },
        "thinks": settings.model_dump(mode="json"),
        "training": dict(training),
        "config": config.model_dump(mode="json"),
        "versions": installed_versions(),
    }
    write_manifest(folder, facts, verification, QUIET_LAYOUT)
    check_layout(folder, QUIET_LAYOUT)
    record.finish_verification(folder, verification)


def _evaluate(context: Context) -> Work:
    config, method = context.config, quiet_of(context.config)
    thoughts, model = context.record.thoughts(), context.gpu.thoughts()
    adapter = thoughts.adapter(context.iteration)
    if adapter is None:
        raise RuntimeError(f"iteration {context.iteration} has no adapter to measure")
    documents, _ = thoughts.documents("held_out")
    worth: Worth | None = None
    measured = model.measure_thoughts(
        adapter, documents, windows=method.held_out_windows, shown=method.shown_thoughts, seed=config.seed
    )
    for item in measured:
        if isinstance(item, Worth):
            worth = item
        else:
            yield Progress(item[0], item[1], "windows")
    if worth is None:
        raise RuntimeError("the measurement ended without a result")
    asked: dict[str, Any] = {}
    for dataset in config.evaluation.also:
        asked[dataset] = yield from _ask_zero_shot(
            context, thoughts, adapter, dataset, method.zero_shot_questions
        )
    facts = worth_facts(worth) | ({"zero_shot": asked} if asked else {})
    thoughts.finish_evaluation(facts, worth.thoughts, lambda folder: state_measured(folder, facts))


def _ask_zero_shot(
    context: Context, thoughts: ThoughtRecord, adapter: Path, dataset: str, count: int
) -> Generator[Progress, None, dict[str, Any]]:
    """What was found, as `thinking.zero_shot` holds it for one dataset. Questions that the model has no room
    for are counted, and not asked.
    """
    seed, model = context.config.seed, context.gpu.thoughts()
    kind, examples = thoughts.questions(dataset, count)
    by_id = {one.id: one for one in examples}
    questions = {one.id: zero_shot_question(kind, one) for one in examples}
    found, short = ZeroShot(), list[Example]()
    for score in model.score_with_thoughts(adapter, list(questions.values()), seed=seed):
        found.add(questions[score.key], score)
        short += [by_id[score.key]] if score.without else []
        yield Progress(found.asked, len(questions), "questions")
    config = zero_shot_config(kind, seed=seed)
    verdicts: dict[str, list[str]] = {}
    for mode in adapter_modes(config):
        verdicts[mode] = yield from _answers(context, thoughts, adapter, (config, mode, dataset), short)
    return found.facts() | generated_facts(verdicts)


def _answers(
    context: Context,
    thoughts: ThoughtRecord,
    adapter: Path,
    asked: tuple[StarConfig, EvaluationMode, str],
    examples: Sequence[Example],
) -> Generator[Progress, None, list[str]]:
    """The verdicts of answers that the model writes; those that are recorded already stand. `asked`: by which
    settings, in which mode, of which dataset.
    """
    config, mode, dataset = asked
    known = dict(thoughts.answered(dataset, mode, examples))
    bare, number = PromptSet(config.kind, ()), context.iteration
    plan = plan_answers(config, bare, examples, mode, number, known.keys())
    batch: list[EvaluatedAnswer] = []
    for completion in context.gpu.thoughts().write_with_thoughts(adapter, plan.queue, plan.params):
        if (answer := plan.finish(completion)) is None:
            continue
        known[answer.example_id] = answer.verdict
        batch.append(answer)
        if len(batch) == RECORDED_AT_ONCE:
            thoughts.add_answers(dataset, mode, batch)
            batch = []
        yield Progress(len(known), len(examples), "answers")
    thoughts.add_answers(dataset, mode, batch)
    return list(known.values())


def zero_shot_question(kind: Kind, example: Example) -> AskedQuestion:
    """What a model without few-shot examples is asked, and the answers whose probability is wanted."""
    prompt = render_prompt(kind, PromptSet(kind, ()), example, direct=True, few_shot=False)
    letters = [choice_letter(place) for place in range(len(example.choices or ()))]
    answered: Sequence[Example] = [replace(example, answer=letter) for letter in letters] or [example]
    gold = letters.index(example.answer) if letters else 0
    separator = task_of(kind).layout.separator
    answers = tuple(separator + direct_answer(kind, one) for one in answered)
    return AskedQuestion(example.id, prompt, answers, gold)


QUIET_PHASES: Mapping[PhaseName, Phase] = {
    phase.name: phase
    for phase in (
        Phase(PhaseName.TRAIN, _train, metrics=_train_metrics, role=AdapterRole.QUIET),
        Phase(PhaseName.VERIFY_ADAPTER, _verify, role=AdapterRole.QUIET),
        Phase(PhaseName.EVALUATE, _evaluate, role=AdapterRole.QUIET),
    )
}
