"""A verifier behind one round of STaR, on sums of four digits: are the wrong tries needed? (arXiv 2402.06457)

    python -m examples.sums.verifier --out .star/sums --write docs/runs/v-star.md

A sum may be added in any order, so right texts differ much in how likely they are, and a wrong one in a
likely order may seem better than a right one in an unlikely order. Pairs of the same question say which
difference matters; right texts alone do not. The generator is tuned on right tries of the base model for so
few steps that most of its answers are wrong. Verifier and control learn from the tries of both.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from examples.arm import add_seeds, seeds_of, seeds_typed, time_taken, write_section
from examples.carry.verifier import (
    BARE,
    CONTROL,
    REWARD,
    TEST_TIME,
    VERIFIER,
    Bench,
    candidates,
    preference_pairs,
    scored,
    train,
    with_reward,
)
from examples.sums.pretrain import make
from examples.sums.task import write_task
from star_engine.config.pairs import PairRules
from star_engine.config.star import StarConfig
from star_engine.evaluation.candidates import (
    GENERATOR,
    Candidate,
    QuestionCurves,
    Scored,
    curve_label,
    question_curves,
    summary,
)
from star_engine.evaluation.intervals import mean_interval
from star_engine.load import load_dataset, load_model, load_prompt_set
from star_engine.sampling.rationales import Rationale, sample_rationales
from star_engine.training_set.pairs import Tried, draw_pairs

TRAIN, TEST = 60, 100
GENERATOR_STEPS, STEPS = 15, (25, 100)
PAIRS_PER_QUESTION = 8
SETTINGS: dict[str, Any] = {
    "kind": "numeric",
    "generation": {
        "temperature": 0.7,
        "samples_per_example": 16,
        "max_tokens": 48,
        "few_shot": "first_iteration",
    },
    "rationalization": {"enabled": False},
    "training": {
        "schedule": {"kind": "fixed", "steps": GENERATOR_STEPS},
        "batch_size": 16,
        "learning_rate": 4e-4,
        "warmup_steps": 5,
        "max_length": 256,
        "lora": {"rank": 16, "alpha": 32},
    },
}
LABELS = {
    f"best_of/{VERIFIER}": "best of k by the verifier's likelihood",
    f"best_of/{REWARD}": "best of k by the verifier's reward",
    f"best_of/{CONTROL}": "best of k by right tries alone, likelihood",
    f"best_of/{CONTROL}_per_token": "best of k by right tries alone, per token",
    f"best_of/{CONTROL}_reward": "best of k by right tries alone, against the base model",
}
SCORERS = (GENERATOR, *(name.partition("/")[2] for name in LABELS))


@dataclass(frozen=True, slots=True)
class Found:
    """One seed: the curves of each question, by the steps that verifier and control took."""

    seed: int
    pairs: int
    right: int  # distinct right texts: what the control learns
    all_right: int  # train questions without a wrong try
    all_wrong: int
    curves: dict[int, list[QuestionCurves]]


def run(out: Path, seed: int) -> Found:
    data, shown = write_task(out / f"data-verifier-{seed}", train=TRAIN, validation=TEST, seed=seed)
    config = StarConfig.model_validate({**SETTINGS, "seed": seed})
    learned, tested = load_dataset(data, config.kind)
    sampler, trainer = load_model(out / "model", rank=config.training.lora.rank)
    here = Bench(config, load_prompt_set(shown, config.kind), sampler, trainer, out / "verifiers")
    by_id = {example.id: example for example in learned}

    def tries(iteration: int) -> list[Tried]:
        found = sample_rationales(sampler, config, here.prompt_set, learned, iteration, recorded={})
        return [Tried(iteration, one) for one in found]

    sampler.use(None)
    first = tries(1)
    rows = [here.row(by_id[one.key.example_id], one.text) for one in distinct_right(first)]
    generator = train(here, "generator", rows, GENERATOR_STEPS)
    sampler.use(generator)
    rules = PairRules(per_example=PAIRS_PER_QUESTION)
    # Tries of the two rounds share their numbers, which pairs are scored by: those of the second come after.
    both = [*first, *map(renumbered, tries(2))]
    drawn = draw_pairs([one.id for one in learned], both, rules, seed)
    pairs = preference_pairs(here, by_id, drawn)
    texts = [here.row(by_id[one.key.example_id], one.text) for one in distinct_right(both)]
    asked = {example.id: example for example in tested}
    found = scored(here, asked, candidates(here, tested, generator), BARE, None)
    curves = {}
    for steps in STEPS:
        adapters = {VERIFIER: train(here, f"verifier-{steps}", pairs, steps)}
        adapters[CONTROL] = train(here, f"right-{steps}", texts, steps)
        judged = found
        for name, adapter in adapters.items():
            judged = scored(here, asked, judged, name, adapter)
        judged = [with_control(with_reward(one)) for one in judged]
        curves[steps] = [
            question_curves(TEST_TIME, name, [one for one in judged if one.key.example_id == name], SCORERS)
            for name in asked
        ]
    sampler.close()
    return Found(seed, len(pairs), len(texts), drawn.all_right, drawn.all_wrong, curves)


def distinct_right(tries: Sequence[Tried]) -> list[Rationale]:
    right = [one.rationale for one in tries if one.rationale.verdict == "correct"]
    return list({(one.key.example_id, one.text): one for one in right}.values())


def renumbered(one: Tried) -> Tried:
    key = one.rationale.key
    later = replace(key, sample=key.sample + SETTINGS["generation"]["samples_per_example"])
    return replace(one, rationale=replace(one.rationale, key=later))


def with_control(one: Candidate) -> Candidate:
    """The control ranked in the verifier's other ways, too: per token, and by how far it is from the base."""
    mine, bare = one.scores[CONTROL], one.scores[BARE]
    per_token = Scored(mine.total / max(1, mine.tokens), mine.tokens)
    apart = Scored(mine.total - bare.total, mine.tokens)
    return replace(one, scores={**one.scores, f"{CONTROL}_per_token": per_token, f"{CONTROL}_reward": apart})


def page(found: Sequence[Found], seconds: float, command: str) -> Iterator[str]:
    """The tables, as lines of Markdown."""
    for steps in STEPS:
        every = [one for seed in found for one in seed.curves[steps]]
        made = summary(TEST_TIME, every)
        yield (
            f"| {steps} steps, {len(every)} questions | " + " | ".join(f"k = {k}" for k in made["ks"]) + " |"
        )
        yield "| --- |" + " --- |" * len(made["ks"])
        for name, points in made["curves"].items():
            if (label := LABELS.get(name) or curve_label(name)) is not None:
                shares = " | ".join(f"{100 * point['value']:.1f}" for point in points)
                yield f"| {label} | {shares} |"
        yield ""
    yield "At k = 16, in points, paired by question:"
    yield ""
    yield "| the verifier's | steps | against | difference | 95 % | by seed |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for steps in STEPS:
        for mine in (VERIFIER, REWARD):
            for against in (f"best_of/{GENERATOR}", *list(LABELS)[2:]):
                yield compared(found, steps, f"best_of/{mine}", against)
    yield ""
    for one in found:
        yield (
            f"- Seed {one.seed}: {one.pairs} pairs, {one.right} distinct right tries; {one.all_wrong} train "
            f"questions without a right try, {one.all_right} without a wrong one."
        )
    yield ""
    yield time_taken(command, seconds)


def compared(found: Sequence[Found], steps: int, mine: str, against: str) -> str:
    """A row of the table of differences."""

    def apart(of: Found) -> list[float]:
        return [one.curves[mine][-1] - one.curves[against][-1] for one in of.curves[steps]]

    every = [one for seed in found for one in apart(seed)]
    interval = mean_interval(every)
    by_seed = " ".join(f"{100 * fmean(apart(one)):+.1f}" for one in found)
    between = f"{100 * interval.low:+.1f} to {100 * interval.high:+.1f}"
    name = "likelihood" if mine == f"best_of/{VERIFIER}" else "reward"
    label = (LABELS.get(against) or curve_label(against) or against).removeprefix("best of k by ")
    return f"| {name} | {steps} | {label} | {100 * fmean(every):+.1f} | {between} | {by_seed} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(".star/sums"))
    parser.add_argument("--write", type=Path, help="the page whose figures are replaced")
    add_seeds(parser)
    chosen = parser.parse_args()
    if not (chosen.out / "model" / "config.json").exists():
        make(chosen.out / "model")
    began = time.monotonic()
    found = []
    for seed in seeds_of(chosen):
        found.append(run(chosen.out, seed))
        command = f"python -m examples.sums.verifier {seeds_typed(chosen)}"
        text = "\n".join(page(found, time.monotonic() - began, command))
        print(text, flush=True)
        if chosen.write is not None:
            write_section(chosen.write, text)


if __name__ == "__main__":
    main()
