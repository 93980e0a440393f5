"""LoraTrainer against TRL's SFTTrainer: time of a step at equal loss, and the share of the hardware limit.

    python -m benchmarks.training [--section race] [--device cuda] [--model PATH]

Sections: race (rows as long as GSM8K's), packed (against TRL packed), few-shot (the rows behind few-shot
examples), prefix (those examples once a batch or with every row), levers (parts of the trainer switched off
in turn), tiny (the addition example). What is compared takes turns in rounds; a table says median and
range. Every section rewrites its part of docs/benchmarks/training.md: each can be run by itself while the
machine does nothing else.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.measuring import interleaved, machine, median_and_range, significant, table
from benchmarks.training_levers import Bench, levers, prefix_levers
from benchmarks.training_limit import Limit, measured_flops
from benchmarks.training_page import write_section
from benchmarks.training_rivals import Measured, order, ours, training, trl
from benchmarks.training_rows import FEW_SHOT_TOKENS, additions, behind_few_shots, word_problems
from star_engine.gpu.training.batch_plan import common_prefixes
from star_engine.gpu.training.lora_trainer import MICRO_BATCH_TOKENS, LoraTrainer
from star_engine.protocols import TrainingText

ROOT = Path(__file__).parents[1]
SMOLLM2 = ROOT / ".star" / "models" / "SmolLM2-135M-Instruct"
TINY = ROOT / "examples" / "carry" / "model"
TOLERANCE = 1e-3  # relative, of the loss of a step
ROWS = 256
PLAIN = {"gradient_checkpointing": False}
PADDING_FREE = {**PLAIN, "padding_free": True, "max_length": None}
RANK = 16

Rivals = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Chosen:
    """What the command line asks for."""

    model: Path
    device: str
    batch_size: int
    steps: int
    rounds: int


def race(chosen: Chosen, texts: Sequence[TrainingText], rivals: Rivals) -> str:
    """LoraTrainer and SFTTrainer with each set of options, over the same steps: a table."""
    asked = training(chosen.steps, chosen.batch_size)
    trainer = LoraTrainer(chosen.model, device=chosen.device)
    bench = Bench(chosen.model, chosen.device, asked)
    runs: dict[str, Callable[[], Measured]] = {"ours": lambda: ours(trainer, texts, asked, chosen.steps)}
    for name, options in rivals.items():
        runs[name] = _bound(chosen, texts, options)
    latest: dict[str, Measured] = {}

    def timed(name: str) -> Callable[[], float]:
        def run() -> float:
            latest[name] = runs[name]()
            return latest[name].seconds

        return run

    seconds = interleaved(
        {**{name: timed(name) for name in runs}, "limit": lambda: measured_flops(bench.base)}, chosen.rounds
    )
    speed = median(seconds.pop("limit"))
    rows = bench.rows(texts)
    counted = [rows[n] for n in order(len(rows), chosen.batch_size, chosen.steps)][chosen.batch_size :]
    flops = Limit.of(bench.base, RANK).flops(counted) / (chosen.steps - 1)
    tokens = sum(len(row.ids) for row in counted) / (chosen.steps - 1)
    return (
        f"{_race_table(seconds, latest, tokens, flops / speed)}\n\n"
        f"{chosen.rounds} rounds of {chosen.steps} steps of {chosen.batch_size} rows, the first step not "
        f"counted; {tokens:,.0f} tokens a step without padding. The limit is {significant(flops / speed)} s: "
        f"{flops / 1e9:,.0f} GFLOP a step at {significant(speed / 1e9)} GFLOP/s, measured on the model's own "
        f"matrix products."
    )


def _bound(
    chosen: Chosen, texts: Sequence[TrainingText], options: Mapping[str, Any]
) -> Callable[[], Measured]:
    asked = training(chosen.steps, chosen.batch_size)
    return lambda: trl(chosen.model, chosen.device, texts, asked, chosen.steps, **options)


def _race_table(
    seconds: Mapping[str, Sequence[float]], latest: Mapping[str, Measured], tokens: float, limit: float
) -> str:
    mine = seconds["ours"]
    lines = []
    for name, took in seconds.items():
        own = latest[name].tokens or tokens
        ratios = [one / own / (other / tokens) for one, other in zip(took, mine, strict=True)]
        share = limit / tokens * own / median(took)
        lines.append(
            (
                name,
                median_and_range(took, "s"),
                significant(own / median(took)),
                median_and_range(ratios),
                f"{share:.2f}",
                _loss(latest["ours"].losses, latest[name].losses),
            )
        )
    head = (
        "trainer",
        "a step",
        "tokens/s",
        "times ours, per token",
        "share of the limit",
        "loss against ours",
    )
    return table(head, lines)


def _loss(mine: Sequence[float], other: Sequence[float]) -> str:
    """How far the losses of the steps are apart at most; other rows in a step have other losses."""
    if not other:
        return "other rows"
    if mine is other:
        return f"{mine[0]:.4f} to {mine[-1]:.4f}"
    apart = max(abs(one - two) / one for one, two in zip(mine, other, strict=True))
    return f"within {apart:.0e}" if apart <= TOLERANCE else f"NOT EQUAL: {apart:.1%} apart"


def part_by_part(chosen: Chosen) -> str:
    """Seconds of a step with all levers and without each."""
    bench = Bench(chosen.model, chosen.device, training(chosen.steps, chosen.batch_size))
    rows = bench.rows(word_problems(chosen.batch_size))
    lengths = [len(row.ids) for row in rows]
    return (
        f"{_levers_table(bench, interleaved(levers(bench, rows, _most(chosen)), chosen.rounds))}\n\n"
        f"{chosen.rounds} rounds of a step of {chosen.batch_size} rows with {min(lengths)} to {max(lengths)} "
        "tokens each."
    )


def prefix_once(chosen: Chosen) -> str:
    """Seconds of a step with the shared prefix once a batch, and with every row."""
    bench = Bench(chosen.model, chosen.device, training(chosen.steps, chosen.batch_size))
    rows = bench.rows(behind_few_shots(word_problems(chosen.batch_size)))
    [(shared, _)] = common_prefixes(rows)
    return (
        f"{_levers_table(bench, interleaved(prefix_levers(bench, rows, _most(chosen)), chosen.rounds))}\n\n"
        f"{chosen.rounds} rounds of a step of {chosen.batch_size} rows, which have {shared} tokens in common."
    )


def _most(chosen: Chosen) -> int:
    return MICRO_BATCH_TOKENS["cpu" if chosen.device == "cpu" else "cuda"]


def _levers_table(bench: Bench, seconds: Mapping[str, Sequence[float]]) -> str:
    first = next(iter(seconds))
    lines = [
        (
            name,
            median_and_range(took, "s"),
            median_and_range([one / two for one, two in zip(took, seconds[first], strict=True)]),
            f"{bench.losses[name]:.5f}",
        )
        for name, took in seconds.items()
    ]
    return table(("step", "seconds", f"times “{first}”", "loss"), lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--section", choices=list(SECTIONS), help="default: one after another")
    parser.add_argument("--model", type=Path, default=SMOLLM2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    chosen = Chosen(asked.model, asked.device, asked.batch_size, asked.steps, asked.rounds)
    given = {option: getattr(asked, option) for option in ("device", "batch_size", "steps", "rounds")}
    options = "".join(
        f" --{option.replace('_', '-')} {value}"
        for option, value in given.items()
        if value != parser.get_default(option)
    )
    for name in [asked.section] if asked.section else SECTIONS:
        title, run = SECTIONS[name]
        text = "\n\n".join([*machine(), run(chosen)])
        write_section(title, name, chosen.device, options, text)
        print(f"\n## {title}\n\n{text}", flush=True)


def _packed(chosen: Chosen) -> str:
    texts = word_problems(ROWS)
    packed = {
        **PLAIN,
        "packing": True,
        "per_device_train_batch_size": 1,
        "max_length": 150 * chosen.batch_size,
    }
    return race(chosen, texts, {"TRL, packed": packed})


def _small(chosen: Chosen) -> Chosen:
    """Four rows: a step of eight such rows, prefix and all, takes a minute on two cores."""
    return replace(chosen, batch_size=min(4, chosen.batch_size), steps=min(2, chosen.steps))


def _tiny(chosen: Chosen) -> str:
    tiny = Chosen(TINY, chosen.device, 16, 12, chosen.rounds)
    return race(tiny, additions(400), {"TRL": PLAIN, "TRL, padding-free": PADDING_FREE})


SECTIONS: dict[str, tuple[str, Callable[[Chosen], str]]] = {
    "race": (
        "Rows as long as GSM8K's",
        lambda chosen: race(chosen, word_problems(ROWS), {"TRL": PLAIN, "TRL, padding-free": PADDING_FREE}),
    ),
    "packed": ("Against TRL, packed", _packed),
    "few-shot": (
        f"Behind {FEW_SHOT_TOKENS} tokens of few-shot examples",
        lambda chosen: race(_small(chosen), behind_few_shots(word_problems(ROWS)), {"TRL": PLAIN}),
    ),
    "prefix": ("The few-shot prefix, once a batch", lambda chosen: prefix_once(_small(chosen))),
    "levers": ("What each part of the trainer gives", part_by_part),
    "tiny": ("The addition example", _tiny),
}

if __name__ == "__main__":
    main()
