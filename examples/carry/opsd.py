"""A teacher that sees the answer, on the addition model: OPSD beside rationalization, with its control.

    python -m examples.carry.opsd --out .star/opsd --write docs/runs/opsd.md

Arms have one try of a question, as many steps and as many texts in a step; each iteration goes on from the
one before. Rationalization learns right tries, and right ones with the answer in view; OPSD learns every try
from the base model with the answer in view (arXiv 2601.18734), its control with another question's answer.
"""

from __future__ import annotations

import random
import re
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import fmean
from typing import Any

from examples.addition.generate import draw_addition, work_out, write_task
from examples.arm import (
    experiment_parser,
    percents,
    publish,
    run_arm,
    seeds_of,
    seeds_typed,
    time_taken,
)
from star_engine.config.presets import PRESETS, laid_over
from star_engine.config.star import StarConfig
from star_engine.data.prompts import render_prompt
from star_engine.evaluation.accuracy import EvaluatedAnswer, EvaluationMode, evaluation_params
from star_engine.load import load_dataset, load_model, load_prompt_set
from star_engine.protocols import SampleRequest
from star_engine.run_directory import RunDirectory
from star_engine.sampling.answers import judge
from star_engine.tasks.kind import Kind
from star_engine.training_set.taught import with_other_answers

HERE = Path(__file__).parent
TRAIN, HELD_OUT = 160, 150
ITERATIONS, STEPS, TEXTS = 6, 10, 16  # a pass over the tries of an iteration
STAR, ALONE, OPSD, WRONG = "rationalization", "right tries alone", "OPSD", "OPSD, wrong hint"
ARMS: Mapping[str, str] = {
    STAR: "star",
    ALONE: "star-without-rationalization",
    OPSD: "opsd",
    WRONG: "opsd-wrong-hint",
}
SHARED: dict[str, Any] = {
    "iterations": ITERATIONS,
    "examples_per_iteration": None,
    "generation": {"temperature": 1.0, "samples_per_example": 1, "max_tokens": 110, "few_shot": 1},
    "rationalization": {"few_shot": 1},
    "training_set": {"filters": ["hint_markers", "answer_only"]},
    "training": {
        "start_from": "previous",
        "schedule": {"kind": "fixed", "steps": STEPS},
        "batch_size": TEXTS,
        "learning_rate": 2e-4,
        "warmup_steps": 2,
        "max_length": 512,
        "lora": {"rank": 32, "alpha": 64},
    },
    "evaluation": {"baselines": ["few_shot_cot"]},
    "audits": {"determinism": 0},
}


@dataclass(frozen=True, slots=True)
class Model:
    """The held-out answers of one model, greedy."""

    accuracy: float
    tokens: float  # of an answer
    laid_out: float  # answers whose text differs from a worked addition in its digits alone
    unparsed: float


@dataclass(frozen=True, slots=True)
class Found:
    """One arm at one seed; `models` begins with the base model."""

    arm: str
    seed: int
    models: tuple[Model, ...]
    tried: tuple[float, ...]  # tokens of an unhinted try, by iteration
    sampled: int  # tokens, hinted tries included
    learned: int  # tokens of the texts that were learned, each counted once an iteration


def settings(arm: str, seed: int) -> StarConfig:
    config = PRESETS[ARMS[arm]](Kind.SCRATCHPAD).model_dump(mode="json") | {"seed": seed}
    return StarConfig.model_validate(laid_over(config, SHARED))


def run(out: Path, model: Path, arm: str, seed: int) -> Found:
    """Run one arm at one seed, or go on with it; what it found is read from its directory."""
    task = write_task(out / f"data-{seed}", train=TRAIN, validation=HELD_OUT, seed=seed)
    folder = out / f"{ARMS[arm]}-{seed}"
    directory, _ = run_arm(folder, f"{arm}, seed {seed}", settings(arm, seed), model, *task)
    return read(directory, arm, seed)


def read(directory: RunDirectory, arm: str, seed: int) -> Found:
    models = [model_of(directory.answers(0, EvaluationMode.FEW_SHOT_COT))]
    tried, sampled, learned = [], 0, 0
    for number in range(1, ITERATIONS + 1):
        tries = directory.rationales(number)
        sampled += sum(one.tokens for one in tries)
        generated = [one for one in tries if one.key.route == "generated"]
        tried.append(fmean(one.tokens for one in generated))
        if arm in (OPSD, WRONG):
            learned += sum(one.tokens for one in generated if one.finish_reason == "stop")
        else:
            kept = {one.key for one in directory.decisions(number) if one.kept}
            learned += sum(one.tokens for one in tries if one.key in kept)
        models.append(model_of(directory.answers(number, EvaluationMode.ADAPTER)))
    return Found(arm, seed, tuple(models), tuple(tried), sampled, learned)


def model_of(answers: Sequence[EvaluatedAnswer]) -> Model:
    return Model(
        accuracy=fmean(one.verdict == "correct" for one in answers),
        tokens=fmean(one.tokens for one in answers),
        laid_out=fmean(shape(one.text) in shapes(int(one.group or 0)) for one in answers),
        unparsed=fmean(one.verdict == "unparsed" for one in answers),
    )


def teachers(out: Path, model: Path, seed: int) -> dict[str, float]:
    """Train questions of the seed that the base model answers right, greedy, by the answer in its view."""
    task = write_task(out / f"data-{seed}", train=TRAIN, validation=HELD_OUT, seed=seed)
    config = settings(OPSD, seed)
    examples, _ = load_dataset(task[0], config.kind)
    shown = load_prompt_set(task[1], config.kind)
    sampler, _ = load_model(model, rank=config.training.lora.rank)
    sampler.use(None)
    params = evaluation_params(config, EvaluationMode.ADAPTER)
    by_id, found = {one.id: one for one in examples}, {}
    seen = {"no answer": examples, "its own": examples, "another question's": with_other_answers(examples)}
    for name, asked in seen.items():
        hint = name != "no answer"
        prompts = (render_prompt(config.kind, shown, one, hint=hint, few_shot=False) for one in asked)
        queue = deque(SampleRequest(one.id, text) for one, text in zip(asked, prompts, strict=True))
        judged = (judge(config, by_id[one.key], one) for one in sampler.stream(queue, params))
        found[name] = fmean(one.verdict == "correct" for one in judged)
    sampler.close()
    return found


def shape(text: str) -> str:
    return re.sub("[0-9]", "0", text)


@cache
def shapes(digits: int) -> frozenset[str]:
    """The layouts of worked additions of so many digits, right ones and ones with carries forgotten."""
    rng = random.Random(digits)
    drawn = [draw_addition(rng, digits) for _ in range(300)]
    worked = [work_out(one, forget_carry=forgets) for one in drawn for forgets in (False, True)]
    return frozenset(shape("\n".join(parts)) for parts in worked)


def page(
    found: Sequence[Found], taught_by: Mapping[str, float], seconds: float, command: str
) -> Iterator[str]:
    """The tables, as lines of Markdown."""
    yield "Held-out answers, greedy, the base model first and then by iteration:"
    yield ""
    yield "| arm | seed | accuracy, % | tokens of an answer | laid out as worked, % | no answer, % |"
    yield f"|{' --- |' * 6}"
    for one in found:
        accuracy, laid_out, unparsed = (
            percents([getattr(model, name) for model in one.models])
            for name in ("accuracy", "laid_out", "unparsed")
        )
        tokens = " ".join(f"{model.tokens:.1f}" for model in one.models)
        yield f"| {' | '.join([one.arm, str(one.seed), accuracy, tokens, laid_out, unparsed])} |"
    yield from ("", "Means over the seeds:", "")
    names = "accuracy by iteration, % | tokens of an unhinted try, by iteration"
    yield f"| arm | {names} | tokens sampled | tokens learned from |"
    yield f"|{' --- |' * 5}"
    for arm in ARMS:
        runs = [one for one in found if one.arm == arm]
        by_iteration = zip(*([model.accuracy for model in one.models] for one in runs), strict=True)
        tried = " ".join(f"{fmean(column):.1f}" for column in zip(*(one.tried for one in runs), strict=True))
        sampled, learned = (
            f"{fmean(getattr(one, name) for one in runs):,.0f}" for name in ("sampled", "learned")
        )
        accuracy = percents([fmean(column) for column in by_iteration])
        yield f"| {' | '.join([arm, accuracy, tried, sampled, learned])} |"
    yield from ("", *(f"- {line}" for line in compared(found)))
    shown = ", ".join(f"{name} in view {100 * share:.0f} %" for name, share in taught_by.items())
    yield from (
        f"- The base model, asked the bare train questions of seed {found[0].seed}, right with {shown}.",
        "",
    )
    yield time_taken(command, seconds)


def compared(found: Sequence[Found]) -> Iterator[str]:
    """Last accuracies against OPSD's, and what the control gains over the base model, seed by seed."""
    models = {(one.arm, one.seed): one.models for one in found}
    seeds = sorted({one.seed for one in found})
    for arm in (STAR, ALONE, WRONG):
        apart = (models[OPSD, seed][-1].accuracy - models[arm, seed][-1].accuracy for seed in seeds)
        points = ", ".join(f"{100 * one:+.1f}" for one in apart)
        yield f"{OPSD} against {arm}, last accuracy in points by seed: {points}."
    for arm in (OPSD, WRONG):
        gains = (models[arm, seed][-1].accuracy - models[arm, seed][0].accuracy for seed in seeds)
        yield f"{arm} against the base model: {', '.join(f'{100 * one:+.1f}' for one in gains)}."


def main() -> None:
    parser = experiment_parser(__doc__, Path(".star/opsd"))
    parser.add_argument("--model", type=Path, default=HERE / "model", help="another base model of the task")
    chosen = parser.parse_args()
    began = time.monotonic()
    seeds = seeds_of(chosen)
    found = [run(chosen.out, chosen.model, arm, seed) for seed in seeds for arm in ARMS]
    model = "" if chosen.model == HERE / "model" else f" --model {chosen.model}"
    command = f"python -m examples.carry.opsd{model} {seeds_typed(chosen)}"
    taught_by = teachers(chosen.out, chosen.model, seeds[0])
    publish(page(found, taught_by, time.monotonic() - began, command), chosen.write)


if __name__ == "__main__":
    main()
