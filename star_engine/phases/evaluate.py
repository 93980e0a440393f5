"""Evaluate: held-out questions, as few-shot baselines of the base model and with an iteration's adapter."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

from star_engine.adapters.model_card import state_receipt
from star_engine.config.star import StarConfig
from star_engine.data.overlap import without_few_shot
from star_engine.diagnostics.spark import MAX_SHOWN, spark_facts, spark_mode
from star_engine.evaluation.accuracy import (
    Accuracy,
    EvaluatedAnswer,
    EvaluationMode,
    adapter_modes,
    evaluation_params,
    plan_answers,
)
from star_engine.evaluation.report import group_accuracy
from star_engine.loop import PhaseName
from star_engine.phases.phase import Ask, Asked, Context, Phase, Progress, Sizes, Slice, Work, divided
from star_engine.record import Counts


def _run(context: Context) -> Work:
    config, record, mode = context.config, context.record, context.part.mode
    if mode is None:
        raise ValueError("a slice that evaluates says how its examples are asked")
    examples = without_few_shot(context.prompt_set, record.examples())
    answered = record.answered()
    done, reused = len(answered), 0

    def add(batch: Sequence[EvaluatedAnswer]) -> Progress:
        nonlocal done, reused
        record.add_answers(batch)
        done += len(batch)
        reused += sum(answer.reused for answer in batch)
        return Progress(done, len(examples), "examples", {"reused": reused})

    yield Progress(done, len(examples), "examples")
    plan = plan_answers(config, context.prompt_set, examples, mode, context.iteration, answered)
    yield Ask(plan, context.iteration, add)
    record.finish_evaluation(partial(state_receipt, iteration=context.iteration, config=config))


def _asks(config: StarConfig, iteration: int, part: Slice) -> Asked:
    if part.mode is None:
        raise ValueError("a slice that evaluates says how its examples are asked")
    return Asked(iteration, evaluation_params(config, part.mode))


def _of_baselines(config: StarConfig, iteration: int, sizes: Sizes, size: int) -> Iterator[Slice]:
    for mode in config.evaluation.baselines:
        yield from divided(sizes.held_out(None), size, EvaluationMode(mode), None)
    yield from _of_other_datasets(config, sizes, size, EvaluationMode.FEW_SHOT_COT)


def _of_adapter(config: StarConfig, iteration: int, sizes: Sizes, size: int) -> Iterator[Slice]:
    for mode in adapter_modes(config):
        yield from divided(sizes.held_out(None), size, mode, None)
    yield from _of_other_datasets(config, sizes, size, EvaluationMode.ADAPTER)


def _of_other_datasets(config: StarConfig, sizes: Sizes, size: int, mode: EvaluationMode) -> Iterator[Slice]:
    for dataset in config.evaluation.also:
        yield from divided(sizes.held_out(dataset), size, mode, dataset)


def _baseline_metrics(config: StarConfig, counts: Counts) -> dict[str, Any]:
    found = {
        str(mode): _figures(counts.accuracy(EvaluationMode(mode))) for mode in config.evaluation.baselines
    }
    asked = spark_mode(list(found))
    failed = counts.failed(EvaluationMode(asked), MAX_SHOWN)
    spark = spark_facts(asked, found[asked], counts.chance(), config, failed)
    others = _other_datasets(config, counts, EvaluationMode.FEW_SHOT_COT)
    best = max(float(one["accuracy"]) for one in found.values())
    return {"baselines": found, "accuracy": best, **spark, **others}


def _adapter_metrics(config: StarConfig, counts: Counts) -> dict[str, Any]:
    found = _figures(counts.accuracy(EvaluationMode.ADAPTER))
    return {
        "accuracy": found["accuracy"],
        "accuracy_by_group": found["by_group"],
        "groups": found["groups"],
        "evaluated": {key: found[key] for key in ("n", "unparsed", "truncated")},
        **_other_datasets(config, counts, EvaluationMode.ADAPTER),
        **_with_and_without_tools(config, counts),
        **_without_thoughts(config, counts),
    }


def _with_and_without_tools(config: StarConfig, counts: Counts) -> dict[str, Any]:
    """Accuracy in each mode in which an adapter with a tool is asked; nothing where it has none."""
    if config.tools.python is None:
        return {}
    found = {}
    for mode in adapter_modes(config):
        figures = _figures(counts.accuracy(mode))
        found[str(mode)] = {"accuracy": figures["accuracy"], "n": figures["n"]}
    return {"tool_accuracy": found}


def _without_thoughts(config: StarConfig, counts: Counts) -> dict[str, Any]:
    """Accuracy of an adapter that thinks between tokens where it does not; nothing of others."""
    if not config.evaluation.without_thoughts:
        return {}
    figures = _figures(counts.accuracy(EvaluationMode.ADAPTER_WITHOUT_THOUGHTS))
    return {"without_thoughts": {"accuracy": figures["accuracy"], "n": figures["n"]}}


def _other_datasets(config: StarConfig, counts: Counts, mode: EvaluationMode) -> dict[str, Any]:
    """Accuracy on the other datasets that are measured, by name; nothing where there are none."""
    found = {}
    for dataset in config.evaluation.also:
        figures = _figures(counts.accuracy(mode, dataset))
        found[dataset] = {"accuracy": figures["accuracy"], "n": figures["n"]}
    return {"also": found} if found else {}


def _figures(found: Accuracy) -> dict[str, Any]:
    return {
        "accuracy": round(found.accuracy, 6),
        "by_group": {group: round(tally.accuracy, 6) for group, tally in sorted(found.groups.items())},
        "groups": {
            group: asdict(group_accuracy(tally.correct, tally.n))
            for group, tally in sorted(found.groups.items())
        },
        "n": found.overall.n,
        "correct": found.overall.correct,
        "wrong": found.overall.wrong,
        "ambiguous": found.overall.ambiguous,
        "unparsed": found.overall.unparsed,
        "truncated": found.overall.truncated,
    }


BASELINES = Phase(PhaseName.BASELINES, _run, _of_baselines, _baseline_metrics, _asks)
EVALUATE = Phase(PhaseName.EVALUATE, _run, _of_adapter, _adapter_metrics, _asks)
