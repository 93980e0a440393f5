"""Seconds and bytes of a training step of Quiet-STaR, against what its settings say.

    python -m benchmarks.quiet_star --write docs/benchmarks/quiet-star.md [--rounds 3]

One thread; seconds are those of the processor, so that other work on the machine changes little.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import fmean, median
from tempfile import TemporaryDirectory

import torch

from benchmarks.measuring import interleaved, machine, notes_beside, significant, table
from benchmarks.peak_bytes import peak_bytes
from benchmarks.training_limit import Limit
from star_engine.adapters.thought_memory import ModelShape, training_bytes
from star_engine.config.quiet_star import QuietStar
from star_engine.gpu.quiet_star.trainer import QuietTrainer

MODEL = Path(__file__).parents[1] / "examples" / "carry" / "model"
USUAL = {"window": 32, "thought_tokens": 4, "ahead_tokens": 2, "rationales": 2}
GRID = {
    "thought_tokens": (2, 8, 16),
    "ahead_tokens": (1, 4),
    "window": (16, 64),
    "rationales": (4,),
}
FIRST_TOKEN = 3  # of those that random windows hold, behind the special ones


@dataclass(frozen=True, slots=True)
class Step:
    """A training step of one window."""

    settings: QuietStar
    checkpointed: bool  # as of a Thinker

    @property
    def name(self) -> str:
        how = "twice" if self.checkpointed else "once"
        return " ".join(f"{getattr(self.settings, name)}" for name in USUAL) + f" {how}"

    def flops(self, limit: Limit) -> float:
        """A frozen weight costs 2 FLOPs a token on the way there and 2 on the way back, an adapter's 2 and 4,
        attention 4 and 8 for each column of the query and key that is looked at, masked or not. The pass of
        number n looks at n keys for each position of the window. Passes that are computed again go there
        twice; logits always do, and those of a thought's tokens once more, to draw them.
        """
        chosen = self.settings
        keys = chosen.window * chosen.passes * (chosen.passes + 1) / 2
        there = chosen.passes * 2.0 * (limit.block_weights + limit.adapter_weights)
        there += 4 * limit.attention_width * keys
        back = chosen.passes * (2.0 * limit.block_weights + 4 * limit.adapter_weights)
        back += 8 * limit.attention_width * keys
        logits = 8 * chosen.steps_of_thought + 2 * 6 * chosen.ahead_tokens
        position = (2 if self.checkpointed else 1) * there + back + logits * limit.head_weights
        return chosen.batch_windows * chosen.rationales * chosen.window * position


@dataclass(frozen=True, slots=True)
class Measured:
    step: Step
    seconds: float
    expected: float  # seconds
    bytes: int  # at the peak, beside the base model
    bound: int  # bytes


def steps() -> list[Step]:
    """The usual step, and others that differ from it in one setting."""
    changed = [{}, *({name: value} for name, values in GRID.items() for value in values)]
    chosen = [
        QuietStar.model_validate({"micro_batch": 1, "batch_windows": 1, **USUAL, **changes})
        for changes in changed
    ]
    return [Step(one, checkpointed) for one in chosen for checkpointed in (False, True)]


def measured(model: Path, rounds: int) -> list[Measured]:
    trainer, asked = QuietTrainer(model, threads=1), steps()
    times = interleaved({one.name: partial(seconds, trainer, one) for one in asked}, rounds)
    shape, limit = ModelShape.of(model), Limit.of(trainer.base, asked[0].settings.lora.rank)
    flops = {one.name: one.flops(limit) for one in asked}
    found = {name: median(times[name]) for name in flops}
    speed = math.exp(fmean(math.log(found[name] / flops[name]) for name in flops))  # seconds for one
    return [
        Measured(
            step=one,
            seconds=found[one.name],
            expected=speed * flops[one.name],
            bytes=peak_bytes(partial(list, trained(trainer, one, count=1))),
            bound=training_bytes(one.settings, shape, torch.float32.itemsize, checkpointed=one.checkpointed),
        )
        for one in asked
    ]


def seconds(trainer: QuietTrainer, step: Step) -> float:
    """Of the second step of a training: in the first one the optimizer's moments are made."""
    taken = trained(trainer, step, count=2)
    next(taken)
    began = time.process_time()
    next(taken)
    return time.process_time() - began


def trained(trainer: QuietTrainer, step: Step, count: int) -> Iterator[object]:
    """Take so many steps, one at a time."""
    generator = torch.Generator().manual_seed(0)
    windows = torch.randint(
        FIRST_TOKEN, trainer.base.config.vocab_size, (count, step.settings.window), generator=generator
    )
    with TemporaryDirectory() as name:
        folder = Path(name)
        yield from trainer.train(
            windows,
            step.settings,
            steps=count,
            seed=0,
            out=folder / "adapter",
            checkpoints=folder / "checkpoints",
            checkpointed=step.checkpointed,
        )


ABOUT = """# A training step of Quiet-STaR

```sh
python -m benchmarks.quiet_star --write docs/benchmarks/quiet-star.md --rounds {rounds}
```

{machine}

A step of one window on the model of `examples/carry` (0.9 M parameters, float32), one thread. *Passes* over
all positions are its text, the start of a thought, its tokens, its end, and the true tokens after it but the
last: the forwards of Quiet-STaR's formula, each of which looks at the keys of all before it. The FLOPs follow
from them, and with one constant for the whole table the seconds that are expected. Bytes at the peak, beside
the base model, are compared with the bound by which a job is refused or checkpointed
(`star_engine/adapters/thought_memory.py`). *Twice*: the backward pass computes each pass again (gradient
checkpointing). Seconds are of the processor, the median of {rounds} rounds in which all steps take turns.

{table}

Seconds are {slowest} of what is expected, bytes {largest} of their bound. Computing passes twice takes
{slower} times the seconds and {smaller} of the bytes.
"""


def page(found: Sequence[Measured], rounds: int) -> str:
    """The Markdown page."""
    head = ["window", "thought", "ahead", "thoughts", "passes"]
    for how in ("once", "twice"):
        head += [f"{how}: s", "/ expected", "MiB", "/ bound"]
    pairs = list(zip(found[::2], found[1::2], strict=True))
    return ABOUT.format(
        rounds=rounds,
        machine="\n".join(machine()),
        table=table(head, rows(pairs)),
        slowest=between(one.seconds / one.expected for one in found),
        largest=between(one.bytes / one.bound for one in found),
        slower=between(twice.seconds / once.seconds for once, twice in pairs),
        smaller=between(twice.bytes / once.bytes for once, twice in pairs),
    )


def between(ratios: Iterable[float]) -> str:
    found = sorted(ratios)
    return f"{found[0]:.2f} to {found[-1]:.2f}"


def rows(pairs: Iterable[tuple[Measured, Measured]]) -> Iterator[list[str]]:
    """Both ways of a step side by side."""
    for once, twice in pairs:
        cells = [str(getattr(once.step.settings, name)) for name in (*USUAL, "passes")]
        for one in (once, twice):
            cells += [significant(one.seconds), f"{one.seconds / one.expected:.2f}"]
            cells += [f"{one.bytes / 2**20:.1f}", f"{one.bytes / one.bound:.2f}"]
        yield cells


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=MODEL)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--write", type=Path)
    chosen = parser.parse_args()
    text = page(measured(chosen.model, chosen.rounds), chosen.rounds)
    print(text)
    if chosen.write:
        notes = notes_beside(chosen.write)
        chosen.write.write_text(f"{text}\n{notes}\n" if notes else text)


if __name__ == "__main__":
    main()
