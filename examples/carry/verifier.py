"""V-STaR's verifier on the addition model: does it find the right answer among 16? (arXiv 2402.06457)

    python -m examples.carry.verifier --out .star/verifier --write docs/runs/v-star.md

The base model is kept as it is and answers each question 16 times. A verifier learns from pairs of its right
and wrong tries at other questions; the one of 16 answers that it finds likeliest is taken. Beside it stand
the scorers that it has to beat: the model's own likelihood, the shortest answer, a random one, and the
likelihood of an adapter that was fine-tuned on the right tries alone.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from examples.addition.generate import draw_addition
from examples.arm import add_seeds, seeds_of, seeds_typed
from star_engine.adapters.layout import write_durably
from star_engine.config.evaluation import TestTime
from star_engine.config.pairs import PairRules
from star_engine.config.star import StarConfig
from star_engine.data.prompts import render_completion
from star_engine.evaluation.candidates import (
    GENERATOR,
    Candidate,
    QuestionCurves,
    Scored,
    curve_label,
    own_text,
    plan_candidates,
    question_curves,
    score_distinct,
    summary,
)
from star_engine.evaluation.intervals import mean_interval
from star_engine.load import load_model, load_prompt_set
from star_engine.protocols import (
    Preference,
    PreferencePair,
    Sampler,
    ScoreRequest,
    Trainer,
    TrainingJob,
    TrainingText,
)
from star_engine.sampling.rationales import Rationale, sample_rationales
from star_engine.tasks.examples import Example, PromptSet
from star_engine.training_set.pairs import DrawnPairs, Tried, draw_pairs
from star_engine.training_set.rows import training_prompt

HERE = Path(__file__).parent
PROMPT_SET = HERE.parent / "addition" / "prompt_set.json"
DIGITS = (2, 3, 4)
TEST_TIME = TestTime(samples=16)
STEPS, RATE, PAIRS_PER_QUESTION = 150, 2e-4, 8
VERIFIER, REWARD, CONTROL, BARE = "verifier", "verifier_reward", "right_alone", "base"
SCORERS = (GENERATOR, VERIFIER, REWARD, CONTROL)


@dataclass(frozen=True, slots=True)
class Bench:
    config: StarConfig
    prompt_set: PromptSet
    sampler: Sampler
    trainer: Trainer
    out: Path

    def row(self, example: Example, text: str) -> TrainingText:
        """A text behind its bare question: how it is trained on, and read by a verifier."""
        prompt = training_prompt(self.config, self.prompt_set, example)
        return TrainingText(prompt, render_completion(self.config.kind, text, self.prompt_set.chat))


def questions(each: int, seed: int, taken: frozenset[str] = frozenset()) -> list[Example]:
    """So many additions of each digit count, none of them in `taken`."""
    rng = random.Random(seed)
    found: dict[str, Example] = {}
    for digits in DIGITS:
        while sum(one.group == str(digits) for one in found.values()) < each:
            drawn = draw_addition(rng, digits)
            if drawn.question not in taken:
                name = f"{digits}-{len(found)}"
                found[drawn.question] = Example(name, drawn.question, drawn.answer, group=str(digits))
    return list(found.values())


def bench(out: Path, seed: int) -> Bench:
    config = StarConfig.model_validate(
        {
            "kind": "scratchpad",
            "seed": seed,
            "generation": {"temperature": 0.7, "samples_per_example": 16, "max_tokens": 110},
            "rationalization": {"enabled": False},
            "training": {
                "schedule": {"kind": "fixed", "steps": STEPS},
                "batch_size": 16,
                "learning_rate": RATE,
                "warmup_steps": 5,
                "max_length": 512,
                "lora": {"rank": 32, "alpha": 64},
            },
        }
    )
    sampler, trainer = load_model(HERE / "model", rank=32)
    prompt_set = load_prompt_set(PROMPT_SET, config.kind)
    return Bench(config, prompt_set, sampler, trainer, out)


def train(
    here: Bench,
    name: str,
    data: Sequence[PreferencePair] | Sequence[TrainingText],
    steps: int = STEPS,
) -> Path:
    """An adapter of so many steps on these pairs or texts."""
    preference = Preference(beta=0.1) if isinstance(data[0], PreferencePair) else None
    folder = here.out / f"{name}-{here.config.seed}"
    checkpoints = here.out / f"{name}-{here.config.seed}-checkpoints"
    job = TrainingJob(
        tuple(data),  # type: ignore[arg-type]  # all of one type
        here.config.training,
        steps,
        here.config.seed,
        folder,
        checkpoints,
        preference=preference,
    )
    last = None
    for last in here.trainer.train(job):
        if last.step % 25 == 0:
            print(f"{name}: step {last.step}, loss {last.loss:.4f}, pairs right {last.pair_accuracy}")
    return folder


def preference_pairs(here: Bench, examples: Mapping[str, Example], drawn: DrawnPairs) -> list[PreferencePair]:
    """The drawn pairs as texts, with the base model's own log-probabilities as the reference."""
    texts = {
        (one.key.example_id, one.key.sample): here.row(examples[one.key.example_id], one.text)
        for pair in drawn.pairs
        for one in (pair.chosen.rationale, pair.rejected.rationale)
    }
    requests = [ScoreRequest(f"{sample}/{name}", text) for (name, sample), text in texts.items()]
    here.sampler.use(None)
    reference = {score.key: score.total for score in here.sampler.score(requests)}

    def of(one: Rationale) -> tuple[TrainingText, float]:
        name, sample = one.key.example_id, one.key.sample
        return texts[name, sample], reference[f"{sample}/{name}"]

    found = []
    for pair in drawn.pairs:
        (chosen, chosen_before), (rejected, rejected_before) = (
            of(pair.chosen.rationale),
            of(pair.rejected.rationale),
        )
        found.append(PreferencePair(chosen, rejected, chosen_before, rejected_before))
    return found


def candidates(here: Bench, examples: Sequence[Example], generator: Path | None = None) -> list[Candidate]:
    """The answers of the base model, few-shot, or of a tuned one, with its own likelihood."""
    here.sampler.use(generator)
    iteration = 0 if generator is None else 1
    plan = plan_candidates(here.config, TEST_TIME, here.prompt_set, examples, iteration, frozenset())
    ended = (plan.finish(one) for one in here.sampler.stream(plan.queue, plan.params))
    found = [one for one in ended if one is not None]
    by_id = {example.id: example for example in examples}
    texts = [
        (one.key, *own_text(here.config, here.prompt_set, by_id[one.key.example_id], one, iteration))
        for one in found
    ]
    own = {key: score for some in score_distinct(here.sampler, texts) for key, score in some.items()}
    return [replace(one, scores={GENERATOR: own[one.key]}) for one in found]


def scored(
    here: Bench, examples: Mapping[str, Example], found: Sequence[Candidate], name: str, adapter: Path | None
) -> list[Candidate]:
    """The candidates with this adapter's likelihood of each, behind its bare question."""
    here.sampler.use(adapter)
    texts = [(one.key, here.row(examples[one.key.example_id], one.text), True) for one in found]
    scores = {key: score for some in score_distinct(here.sampler, texts) for key, score in some.items()}
    return [replace(one, scores={**one.scores, name: scores[one.key]}) for one in found]


def with_reward(one: Candidate) -> Candidate:
    reward = Scored(one.scores[VERIFIER].total - one.scores[BARE].total, one.scores[VERIFIER].tokens)
    return replace(one, scores={**one.scores, REWARD: reward})


@dataclass(frozen=True, slots=True)
class Found:
    """What one seed has found."""

    seed: int
    pairs: int
    all_right: int
    all_wrong: int
    curves: list[QuestionCurves]


def run(out: Path, seed: int, each_train: int, each_test: int) -> Found:
    here = bench(out, seed)
    learned = questions(each_train, seed=1000 + seed)
    tested = questions(each_test, seed=2000 + seed, taken=frozenset(one.question for one in learned))
    by_id = {example.id: example for example in tested}
    here.sampler.use(None)
    tries = list(sample_rationales(here.sampler, here.config, here.prompt_set, learned, 1, recorded={}))
    tried = [Tried(1, one) for one in tries]
    drawn = draw_pairs([one.id for one in learned], tried, PairRules(per_example=PAIRS_PER_QUESTION), seed)
    print(f"seed {seed}: {len(tries)} tries, {len(drawn.pairs)} pairs")
    asked = {example.id: example for example in learned}
    verifier = train(here, VERIFIER, preference_pairs(here, asked, drawn))
    right = {pair.chosen.key: pair.chosen.rationale for pair in drawn.pairs}
    rows = [here.row(asked[one.key.example_id], one.text) for one in right.values()]
    control = train(here, CONTROL, rows)
    found = candidates(here, tested)
    for name, adapter in ((BARE, None), (VERIFIER, verifier), (CONTROL, control)):
        found = scored(here, by_id, found, name, adapter)
    found = [with_reward(one) for one in found]
    curves = [
        question_curves(TEST_TIME, name, [one for one in found if one.key.example_id == name], SCORERS)
        for name in by_id
    ]
    here.sampler.close()
    return Found(seed, len(drawn.pairs), drawn.all_right, drawn.all_wrong, curves)


def run_once(out: Path, seed: int, each_train: int, each_test: int) -> Found:
    """What a seed has found, read where it has been run before with as many questions."""
    path = out / f"found-{seed}-{each_train}-{each_test}.json"
    if path.exists():
        said = json.loads(path.read_text(encoding="utf-8"))
        curves = [
            QuestionCurves(
                **{**one, "curves": {name: tuple(values) for name, values in one["curves"].items()}}
            )
            for one in said.pop("curves")
        ]
        return Found(**said, curves=curves)
    found = run(out, seed, each_train, each_test)
    write_durably(path, json.dumps(asdict(found)))
    return found


def page(found: Sequence[Found], seconds: float, command: str) -> Iterator[str]:
    """The run as Markdown."""
    every = [one for seed in found for one in seed.curves]
    made = summary(TEST_TIME, every)
    names = {
        f"best_of/{VERIFIER}": "best of k by the verifier's likelihood",
        f"best_of/{REWARD}": "best of k by the verifier's reward",
        f"best_of/{CONTROL}": "best of k by an adapter tuned on right tries alone",
    }
    yield f"| {len(every)} questions | " + " | ".join(f"k = {k}" for k in made["ks"]) + " | 95 % |"
    yield "| --- |" + " --- |" * (len(made["ks"]) + 1)
    for name, points in made["curves"].items():
        label = names.get(name) or curve_label(name)
        if label is not None:
            shares = " | ".join(f"{100 * point['value']:.1f}" for point in points)
            between = f"{100 * points[-1]['low']:.1f} to {100 * points[-1]['high']:.1f}"
            yield f"| {label} | {shares} | {between} |"
    yield ""
    yield "| at k = 16, in points, paired by question | difference | 95 % interval |"
    yield "| --- | --- | --- |"
    for against in ("best_of/random", "majority", f"best_of/{GENERATOR}", f"best_of/{CONTROL}"):
        apart = [one.curves[f"best_of/{VERIFIER}"][-1] - one.curves[against][-1] for one in every]
        interval = mean_interval(apart)
        label = names.get(against) or curve_label(against)
        mean = 100 * sum(apart) / len(apart)
        yield (
            f"| verifier's likelihood against {label} | {mean:+.1f} "
            f"| {100 * interval.low:+.1f} to {100 * interval.high:+.1f} |"
        )
    yield ""
    for one in found:
        alone = summary(TEST_TIME, one.curves)["curves"]
        shares = ", ".join(
            f"{label} {100 * alone[name][-1]['value']:.1f}"
            for name, label in (
                (f"best_of/{VERIFIER}", "verifier"),
                (f"best_of/{CONTROL}", "tuned on right tries"),
                (f"best_of/{GENERATOR}", "own likelihood"),
                ("majority", "vote"),
            )
        )
        yield (
            f"- Seed {one.seed}: {one.pairs} pairs; {one.all_wrong} train questions without a right try, "
            f"{one.all_right} without a wrong one. At k = 16: {shares} %."
        )
    yield ""
    yield f"`{command}` took {seconds:.0f} s on two shared CPU cores."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(".star/verifier"))
    parser.add_argument("--write", type=Path, help="write the tables to this file as well")
    add_seeds(parser)
    parser.add_argument("--train", type=int, default=40, help="questions of each digit count")
    parser.add_argument("--test", type=int, default=25, help="held-out questions of each digit count")
    sent = parser.parse_args()
    began = time.monotonic()
    found = []
    sizes = f"{seeds_typed(sent)} --train {sent.train} --test {sent.test}"
    command = f"python -m examples.carry.verifier {sizes}"
    for seed in seeds_of(sent):
        found.append(run_once(sent.out, seed, sent.train, sent.test))
        text = "\n".join(page(found, time.monotonic() - began, command))
        print(text)
        if sent.write is not None:
            sent.write.write_text(f"{text}\n")


if __name__ == "__main__":
    main()
