"""START on products: does a model that is made to compute go on to do so unasked? (arXiv 2503.04625)

    python -m examples.products.start --out .star/products --write docs/runs/start.md

Arms differ in the hint that failed questions are tried again with, in what the tool says, and in whether the
hint is learned; three have no hint at all, and three sample as the preset does.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from examples.arm import percents, publish, run_arm, time_taken
from examples.products.pretrain import make
from examples.products.task import OTHER, write_task
from star_engine.config.presets import laid_over, start
from star_engine.config.star import StarConfig
from star_engine.evaluation.accuracy import EvaluatedAnswer, EvaluationMode, evaluate
from star_engine.load import load_dataset, load_model, load_prompt_set
from star_engine.loop import Pause, Stop, next_phase
from star_engine.run_directory import RunDirectory
from star_engine.tasks.kind import Kind
from star_engine.tasks.programs.execution import CodeRunner, Execution, Program, Run, using_runner
from worker.sandbox.monty import MontyRunner

TRAIN, HELD_OUT = 80, 100
ITERATIONS, STEPS, BATCH, TRIES = 3, 20, 16, 16
PRESET, LEARNED, NONSENSE = "preset `start`", "hint learned", "hint learned, nonsense output"
MASKED, RANDOM, PLAIN = "hint masked", "hint learned, random hint", "plain RFT"
PRESET_LEARNED, PRESET_PLAIN = "preset, hint learned", "preset's sampling, plain RFT"
PLAIN_ALL = "plain RFT, working by hand kept"
FILTERS = ["hint_markers", "repetition", "tool_fake", "all_calls_failed"]  # the preset's but answer_only
WIDE = {"temperature": 1.0, "top_p": 1.0}
ARMS: Mapping[str, dict[str, Any]] = {
    PRESET: {},
    MASKED: {"generation": WIDE},
    LEARNED: {"generation": WIDE, "hints": {"masked": False}},
    NONSENSE: {"generation": WIDE, "hints": {"masked": False}},
    RANDOM: {"generation": WIDE, "hints": {"masked": False, "groups": [], "texts": OTHER}},
    PLAIN: {"generation": WIDE, "hints": None},
    PRESET_LEARNED: {"hints": {"masked": False}},
    PRESET_PLAIN: {"hints": None},
    PLAIN_ALL: {"generation": WIDE, "hints": None, "training_set": {"filters": FILTERS}},
}
SHARED: dict[str, Any] = {
    "iterations": ITERATIONS,
    "generation": {"samples_per_example": TRIES, "max_tokens": 200, "few_shot": "first_iteration"},
    "training": {
        "schedule": {"kind": "fixed", "steps": STEPS},
        "batch_size": BATCH,
        "learning_rate": 1e-3,
        "warmup_steps": 2,
        "max_length": 256,
        "lora": {"rank": 16, "alpha": 32},
    },
    "evaluation": {"baselines": ["few_shot_cot"]},
    # By hand the base model is right too rarely to show a spark.
    "audits": {"determinism": 0, "spark_level": None},
}


class Nonsense:
    """A runner whose programs print other digits than they would, as many of them."""

    def __init__(self, runner: CodeRunner) -> None:
        self._runner = runner

    def run(self, programs: Sequence[Program], owner: str = "") -> Iterator[Execution]:
        for program, found in zip(programs, self._runner.run(programs, owner), strict=True):
            yield replace(found, runs=tuple(_scrambled(program, run) for run in found.runs))


def _scrambled(program: Program, run: Run) -> Run:
    rng = random.Random(program.sha256)
    changed = (
        rng.choice([d for d in "123456789" if d != one]) if one.isdigit() else one for one in run.stdout
    )
    return replace(run, stdout="".join(changed))


@dataclass(frozen=True, slots=True)
class Model:
    """A model of one arm: the base model's is number 0. None: it was not asked so."""

    calls: float  # held-out answers with the tool that call it
    with_tool: float
    without_tool: float | None
    hinted: float | None


@dataclass(frozen=True, slots=True)
class Tries:
    """The tries of one iteration, made by the model before it."""

    calling: float  # of the unhinted ones
    right: float  # of the unhinted ones
    hinted_right: float | None  # of the hinted ones; None: there are none
    calls: float  # in an unhinted try that calls
    failed: float  # of the calls of all tries
    kept: Mapping[str, int]  # rows learned, by route


@dataclass(frozen=True, slots=True)
class Found:
    arm: str
    seed: int
    models: tuple[Model, ...]
    tries: tuple[Tries, ...]
    end: str | None  # why it ended before its last iteration
    misled: float | None  # right answers of the last model where its tool says nonsense


def settings(arm: str, seed: int) -> StarConfig:
    config = start(Kind.NUMERIC).model_dump(mode="json") | {"seed": seed}
    return StarConfig.model_validate(laid_over(laid_over(config, SHARED), ARMS[arm]))


def run(out: Path, arm: str, seed: int, runner: CodeRunner) -> Found:
    """Run one arm at one seed, or go on with it; what it found is read from its directory."""
    task = write_task(out / f"data-{seed}", train=TRAIN, validation=HELD_OUT, seed=seed)
    config, folder = settings(arm, seed), out / f"{list(ARMS).index(arm)}-{seed}"
    nonsense = Nonsense(runner)
    with using_runner(nonsense if arm == NONSENSE else runner):
        directory, _ = run_arm(folder, f"{arm}, seed {seed}", config, out / "model", *task)
    found = read(directory, arm, seed)
    if arm != LEARNED or found.end is not None:
        return found
    with using_runner(nonsense):
        return replace(found, misled=asked_again(directory, config, out / "model", *task))


def asked_again(
    directory: RunDirectory, config: StarConfig, model: Path, dataset: Path, prompt_set: Path
) -> float:
    """Accuracy of the last model with the tool that is installed now."""
    _, held_out = load_dataset(dataset, config.kind)
    shown = load_prompt_set(prompt_set, config.kind)
    sampler, _ = load_model(model, rank=config.training.lora.rank)
    sampler.use(directory.adapter(ITERATIONS))
    answers = evaluate(sampler, config, shown, held_out, EvaluationMode.ADAPTER, ITERATIONS, frozenset())
    right = fmean(one.verdict == "correct" for one in answers)
    sampler.close()
    return right


def read(directory: RunDirectory, arm: str, seed: int) -> Found:
    metrics = directory.metrics()
    base = directory.answers(0, EvaluationMode.FEW_SHOT_COT)
    models = [Model(calling(base), metrics[0]["accuracy"], None, None)]
    tries = []
    for number in (one for one in range(1, ITERATIONS + 1) if "sampled" in metrics.get(one, {})):
        of_iteration = metrics[number]
        tries.append(_tries(of_iteration))
        if "tool_accuracy" not in of_iteration:
            break
        shares = {mode: one["accuracy"] for mode, one in of_iteration["tool_accuracy"].items()}
        answers = directory.answers(number, EvaluationMode.ADAPTER)
        without, hinted = shares.get("adapter_without_tools"), shares.get("adapter_hinted")
        models.append(Model(calling(answers), shares["adapter"], without, hinted))
    step = next_phase(settings(arm, seed), directory.history())
    end = None
    if isinstance(step, Pause | Stop) and len(models) <= ITERATIONS:
        end = f"{step.reason} in iteration {len(tries)}"
    return Found(arm, seed, tuple(models), tuple(tries), end, None)


def calling(answers: Sequence[EvaluatedAnswer]) -> float:
    return fmean(one.tools is not None and one.tools.calls > 0 for one in answers)


def _tries(metrics: Mapping[str, Any]) -> Tries:
    use, sampled = metrics["tool_use"], metrics["sampled"]
    generated, hinted = use["generated"], sampled.get("hinted")
    calls = sum(one["calls"] for one in use.values())
    return Tries(
        calling=generated["rate"],
        right=right_of(sampled["generated"]),
        hinted_right=right_of(hinted) if hinted else None,
        calls=generated["calls"] / max(1, generated["using"]),
        failed=sum(one["failed"] for one in use.values()) / max(1, calls),
        kept=metrics.get("kept", {}),
    )


def right_of(verdicts: Mapping[str, int]) -> float:
    return verdicts.get("correct", 0) / sum(verdicts.values())


def page(found: Sequence[Found], seconds: float, command: str) -> Iterator[str]:
    """The tables, as lines of Markdown."""
    yield "Held-out answers, greedy, in %; the base model is number 0 and has the few-shot examples:"
    yield ""
    yield "| arm | seed | call unasked | right with the tool | right without it | right with tool and hint |"
    yield f"|{' --- |' * 6}"
    for one in found:
        columns: tuple[list[float | None], ...] = (
            [model.calls for model in one.models],
            [model.with_tool for model in one.models],
            [model.without_tool for model in one.models[1:]],
            [model.hinted for model in one.models[1:]],
        )
        yield f"| {' | '.join([one.arm, str(one.seed), *map(percents, columns)])} |"
    yield from ("", f"Tries, {TRIES} of a question at the arm's temperature, by iteration:", "")
    names = (
        "unhinted: call, % | unhinted: right, % | hinted: right, % | calls of a calling try | failed calls, %"
    )
    yield f"| arm | seed | {names} | kept, unhinted + hinted | ended |"
    yield f"|{' --- |' * 9}"
    for one in found:
        cells = [one.arm, str(one.seed), " ".join(f"{100 * each.calling:.1f}" for each in one.tries)]
        cells += [percents([each.right for each in one.tries])]
        cells += [percents([each.hinted_right for each in one.tries])]
        cells += [" ".join(f"{each.calls:.2f}" for each in one.tries)]
        cells += [percents([each.failed for each in one.tries])]
        kept = (f"{each.kept.get('generated', 0)}+{each.kept.get('hinted', 0)}" for each in one.tries)
        cells += [" ".join(kept), one.end or "-"]
        yield f"| {' | '.join(cells)} |"
    misled = ", ".join(f"{100 * one.misled:.0f}" for one in found if one.misled is not None)
    yield from (
        "",
        f"Last model of {LEARNED}, asked with nonsense outputs: right in {misled} %, by seed.",
        "",
    )
    yield time_taken(command, seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(".star/products"))
    parser.add_argument("--write", type=Path, help="the page whose figures are replaced")
    parser.add_argument("--seeds", type=int, default=3)
    chosen = parser.parse_args()
    if not (chosen.out / "model" / "config.json").exists():
        make(chosen.out / "model")
    began = time.monotonic()
    with closing(MontyRunner(1)) as runner:
        found = [run(chosen.out, arm, seed, runner) for seed in range(chosen.seeds) for arm in ARMS]
    command = f"python -m examples.products.start --seeds {chosen.seeds}"
    publish(page(found, time.monotonic() - began, command), chosen.write)


if __name__ == "__main__":
    main()
