"""Rows, steps and passes of every preset beside its source's: python -m benchmarks.preset_work

Nothing is trained. The steps are those that a job would plan, on as many rows as GSM8K's train split has, as
if every example gave one, and of the length that its rows have by the tokenizer of SmolLM2. A job that keeps
fewer rows makes more passes over them.
"""

from __future__ import annotations

from star_engine.config.presets import PRESETS
from star_engine.config.star import StarConfig
from star_engine.data.selection import training_steps
from star_engine.tasks.kind import Kind

EXAMPLES = 7473  # GSM8K's train split
ROW_TOKENS = 195  # so that the paper's step of 8 x 1,024 tokens holds 42 rows (docs/fidelity.md)
PAPER_STEP = 8 * 1024 // ROW_TOKENS
OUTER_LOOP = f"{PAPER_STEP} rows; 40, 48 ... 7,912 steps, then 7,912"  # 40 x 1.2^(n-1) up to iteration 30
# Rows of a step and steps or passes of an iteration, as the source of a preset has them.
SOURCES = {
    "star": OUTER_LOOP,
    "star-without-rationalization": OUTER_LOOP,
    "star-released-code": f"{8 * 1536 // ROW_TOKENS} rows; 1 + 0.2 (n-1) passes",
    "star-majority-vote": "ours",
    "quick": "ours",
    "rft": "128 rows; 3 passes",
    "b-star": "128 rows; 500 steps, 9 iterations",
}


def planned(config: StarConfig) -> tuple[int, list[int], list[float]]:
    """Rows of a step, and of every iteration its steps and its passes over the rows."""
    of_step = config.training.batch_size
    if config.training.batch_tokens is not None:
        of_step = max(1, config.training.batch_tokens // ROW_TOKENS)
    rows = min(EXAMPLES, config.examples_per_iteration or EXAMPLES)
    steps = [
        training_steps(config.training, number, rows, rows * ROW_TOKENS)
        for number in range(1, config.iterations + 1)
    ]
    return of_step, steps, [count * of_step / rows for count in steps]


def main() -> None:
    """Print the table."""
    print(
        "| preset | iterations | rows a step | steps: first, last, all | passes: first, last | its source |"
    )
    print("| --- | --- | --- | --- | --- | --- |")
    for name, preset in PRESETS.items():
        config = preset(Kind.NUMERIC)
        if config.baselines_only:
            continue
        of_step, steps, passes = planned(config)
        counted = f"{steps[0]:,}, {steps[-1]:,}, {sum(steps):,}"
        print(
            f"| `{name}` | {len(steps)} | {of_step} | {counted} | {passes[0]:.1f}, {passes[-1]:.1f} "
            f"| {SOURCES.get(name, '-')} |"
        )


if __name__ == "__main__":
    main()
