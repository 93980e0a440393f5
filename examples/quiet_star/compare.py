"""Quiet-STaR on additions without working, beside its controls: is it worth thinking before each token?

    python -m examples.quiet_star.compare --out .star/quiet --seeds 0 1 2 --write docs/runs/quiet-star.md

The base model is that of examples/carry, with 0.9 M parameters and a token for each digit. Documents hold
sums of three digits with their answers and no working. Only digits of answers are measured: operands are
random, and no thought can know them.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean

import torch

from examples.addition.generate import draw_addition
from examples.arm import write_section
from star_engine.config.quiet_star import Thoughts
from star_engine.data.documents import held_out_documents, read_documents, windows
from star_engine.gpu.causal_lm import eos_ids, load_model, load_tokenizer, prompt_ids
from star_engine.gpu.quiet_star.files import load_quiet_adapter
from star_engine.gpu.quiet_star.measuring import measure
from star_engine.gpu.quiet_star.run import ADAPTER, run_quiet_star
from star_engine.gpu.quiet_star.thinking import Thinker
from star_engine.quiet_job import QuietJob
from star_engine.thoughts import Worth

MODEL = Path(__file__).parents[1] / "carry" / "model"
DOCUMENTS, SUMS, DIGITS = 400, 8, 3
STEPS = 200
SETTINGS = {
    "window": 48,
    "thought_tokens": 5,
    "ahead_tokens": 3,
    "batch_windows": 4,
    "learning_rate": 1e-3,
    "lora": {"rank": 16, "alpha": 32},
}
NAMES = {
    Thoughts.SAMPLED: "Quiet-STaR",
    Thoughts.RANDOM: "random thoughts",
    Thoughts.PAUSE: "pause: start and end alone",
    Thoughts.OFF: "continued training",
}


@dataclass(frozen=True, slots=True)
class Found:
    """One arm at one seed, on the answers of held-out documents; nats."""

    arm: Thoughts
    seed: int
    without: float  # negative log-likelihood of a token as the trained model alone predicts it
    mixed: float  # with its thoughts
    hardest: float  # gain by thoughts on the fifth of the tokens that is hardest
    weight: float  # of the thoughts in the last step, 0 to 1
    entropy: float  # of their tokens in the last step


def write_documents(path: Path, seed: int) -> None:
    rng = random.Random(seed)
    rows = []
    for _ in range(DOCUMENTS):
        sums = [draw_addition(rng, DIGITS) for _ in range(SUMS)]
        text = "\n\n".join(f"Input:\n{one.question}\nTarget:\n{one.answer}" for one in sums)
        rows.append(json.dumps({"text": text}))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(rows) + "\n")


def run(out: Path, arm: Thoughts, seed: int, steps: int) -> Found:
    """Run one arm at one seed, or go on with it; what was found before by the same settings stands."""
    documents = out / f"documents-{seed}.jsonl"
    write_documents(documents, seed)
    job = QuietJob(
        documents=documents,
        base_model=MODEL,
        output=out / f"{arm}-{seed}",
        steps=steps,
        seed=seed,
        settings={**SETTINGS, "thoughts": arm},
    )
    asked = job.model_dump(mode="json", include={"steps", "seed", "settings"})
    known = job.output / "found.json"
    kept = json.loads(known.read_text()) if known.exists() else {}
    if kept.get("asked") == asked:
        return Found(**{**kept["found"], "arm": arm})
    run_quiet_star(job)
    found = found_by(job)
    known.write_text(json.dumps({"asked": asked, "found": asdict(found)}, indent=2) + "\n")
    return found


def found_by(job: QuietJob) -> Found:
    """What a run that has ended is worth on held-out answers."""
    worth = on_answers(job)
    last = json.loads((job.output / "steps.jsonl").read_text().splitlines()[-1])
    return Found(
        job.settings.thoughts,
        job.seed,
        worth.without[0],
        worth.mixed[0],
        worth.gain_by_difficulty[-1],
        last["weight"],
        last["entropy"],
    )


def on_answers(job: QuietJob) -> Worth:
    """What thoughts are worth on the digits of held-out answers."""
    tokenizer = load_tokenizer(job.base_model)
    _, held_out = held_out_documents(read_documents(job.documents), job.held_out, job.seed)
    separator = eos_ids(job.base_model, tokenizer)[0]
    cut = list(windows(prompt_ids(tokenizer, held_out), job.settings.window, separator))
    model, head, settings = load_quiet_adapter(
        load_model(job.base_model, dtype=torch.float32, device="cpu"), job.output / ADAPTER
    )
    banned = torch.tensor(sorted(set(tokenizer.all_special_ids)))
    counted = torch.tensor([answers(tokenizer.convert_ids_to_tokens(ids)) for ids in cut])
    thinker = Thinker(model, head, settings)
    return measure(
        thinker, torch.tensor(cut), banned, seed=job.seed, decode=tokenizer.decode, counted=counted
    )


def answers(tokens: Sequence[str]) -> list[bool]:
    """Which tokens of a window are digits of an answer: those in the line behind "Target:"."""
    found, inside, before = list[bool](), False, ""
    for written in tokens:
        ends = written == "\n"
        inside = before == "Target:" if ends else inside
        found.append(inside and not ends)
        before = written
    return found


def page(found: Sequence[Found], command: str) -> Iterator[str]:
    """The tables, as lines of Markdown."""
    heads = (
        "arm",
        "seed",
        "without thoughts",
        "with thoughts",
        "gain",
        "gain on the hardest fifth",
        "weight",
    )
    yield f"| {' | '.join(heads)} | entropy of thoughts |"
    yield f"|{' --- |' * (len(heads) + 1)}"
    for one in found:
        numbers = (one.without, one.mixed, one.without - one.mixed, one.hardest, one.weight, one.entropy)
        yield f"| {NAMES[one.arm]} | {one.seed} | {' | '.join(f'{number:.4f}' for number in numbers)} |"
    yield from ("", "Means over the seeds, and the difference from continued training:", "")
    yield from ("| arm | with thoughts | better than continued training by |", "| --- | --- | --- |")
    plain = {one.seed: one.mixed for one in found if one.arm is Thoughts.OFF}
    for arm, name in NAMES.items():
        runs = [one for one in found if one.arm is arm]
        ahead = [plain[one.seed] - one.mixed for one in runs]
        each = ", ".join(f"{value:+.4f}" for value in ahead)
        yield f"| {name} | {fmean(one.mixed for one in runs):.4f} | {fmean(ahead):+.4f} ({each}) |"
    yield from ("", *claims(found), "", f"Written by `{command}`.")


def claims(found: Sequence[Found]) -> Iterator[str]:
    """Whether what was said before running holds, as lines of Markdown."""
    mixed = {(one.arm, one.seed): one.mixed for one in found}
    seeds = sorted({one.seed for one in found})
    for words, rivals in (
        ("Thinking helps", (Thoughts.OFF,)),
        ("What is thought matters", (Thoughts.RANDOM, Thoughts.PAUSE)),
    ):
        better = [
            seed for seed in seeds if all(mixed[Thoughts.SAMPLED, seed] < mixed[one, seed] for one in rivals)
        ]
        beaten = " and than ".join(NAMES[one] for one in rivals)
        holds = "holds" if better == seeds else "does not hold"
        yield (
            f"- *{words}* **{holds}**: with its thoughts Quiet-STaR is better than {beaten} at "
            f"{len(better)} of {len(seeds)} seeds."
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--write", type=Path, help="the page whose figures are replaced")
    chosen = parser.parse_args()
    found = []
    for seed in chosen.seeds:
        for arm, name in NAMES.items():
            found.append(run(chosen.out, arm, seed, chosen.steps))
            print(f"{name}, seed {seed}: {found[-1].without:.4f}, {found[-1].mixed:.4f}", flush=True)
    seeds = " ".join(map(str, chosen.seeds))
    command = f"python -m examples.quiet_star.compare --out DIR --seeds {seeds}"
    lines = list(page(found, command))
    print("\n".join(lines))
    if chosen.write:
        write_section(chosen.write, "\n".join(lines))


if __name__ == "__main__":
    main()
