"""How many steps, which examples, which seeds, which slices: functions of the job's seed and the iteration.

Randomness is a keyed hash instead of a generator with state: two workers, a resumed step and a later Python
draw the same numbers.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from hashlib import blake2b

from star_engine.config.schedules import EpochsSchedule, FixedSchedule, GeometricSchedule, Schedule
from star_engine.config.star import StarConfig, Training

_MAX_STEPS = 10**9  # a geometric schedule overflows a float near iteration 4,000; nobody trains this long


def steps_in(schedule: Schedule, iteration: int, *, rows: int = 0, batch_size: int = 1) -> int:
    """Optimizer steps of iteration n >= 1.

    Geometric: int(start * factor^(n-1)); 40 and 1.2 give 40, 48, 57, 69, ... and the paper's 7,912 at n = 30
    (section 4.2). Linear: start + add * (n-1). Epochs: rows * (epochs + add * (n-1)) / batch_size, rounded
    up; only they need to know how many rows are trained on, and in batches of how many: see `training_steps`.
    """
    if iteration < 1:
        raise ValueError(f"iterations count from 1, not {iteration}")
    if isinstance(schedule, GeometricSchedule):
        steps = _geometric(schedule, iteration)
    elif isinstance(schedule, FixedSchedule):
        return schedule.steps
    elif isinstance(schedule, EpochsSchedule):
        if rows < 1:
            raise ValueError("a schedule of epochs needs to know how many rows are trained on")
        epochs = schedule.epochs + schedule.add * (iteration - 1)
        steps = math.ceil(rows * epochs / batch_size)
    else:
        steps = schedule.start + schedule.add * (iteration - 1)
    return min(steps, schedule.max_steps or _MAX_STEPS)


def training_steps(training: Training, iteration: int, rows: int, tokens: int | None) -> int:
    """Optimizer steps of iteration n on so many rows. `tokens`: of them all, where batches are counted so."""
    if training.batch_tokens is None:
        return steps_in(training.schedule, iteration, rows=rows, batch_size=training.batch_size)
    return steps_in(training.schedule, iteration, rows=tokens or 0, batch_size=training.batch_tokens)


def _geometric(schedule: GeometricSchedule, iteration: int) -> int:
    try:
        steps = schedule.start * schedule.factor ** (iteration - 1)
    except OverflowError:
        return _MAX_STEPS
    return int(min(steps, _MAX_STEPS))


def select_examples(count: int, per_iteration: int | None, seed: int, iteration: int) -> list[int]:
    """Positions of this iteration's examples, ascending, drawn from `range(count)` without replacement."""
    if per_iteration is None or per_iteration >= count:
        return list(range(count))
    begun = blake2b(_joined(seed, iteration, "select", "").encode(), digest_size=8)

    def order(position: int) -> bytes:
        """The bytes of `_hash(seed, iteration, "select", position)`, in half of its time."""
        hashed = begun.copy()
        hashed.update(b"%d" % position)
        return hashed.digest()

    return sorted(sorted(range(count), key=order)[:per_iteration])


def select_train(
    config: StarConfig, count: int, iteration: int, groups: Sequence[str | None] | None = None
) -> list[int]:
    """Positions of the train examples that iteration n asks, ascending.

    `groups`: the group of every train example in order; needed only where there is a curriculum.
    """
    return drawn_from(config, iteration, in_stage(config, count, iteration, groups))


def in_stage(
    config: StarConfig, count: int, iteration: int, groups: Sequence[str | None] | None = None
) -> Sequence[int]:
    """Positions of the train examples that the curriculum allows in iteration n, ascending."""
    stages = [stage for stage in config.curriculum if stage.from_iteration <= iteration]
    if stages and groups is not None:
        return [position for position, group in enumerate(groups) if group in stages[-1].groups]
    return range(count)


def drawn_from(config: StarConfig, iteration: int, asked: Sequence[int]) -> list[int]:
    """`examples_per_iteration` of these positions, drawn by the seed, in their order."""
    drawn = select_examples(len(asked), config.examples_per_iteration, config.seed, iteration)
    return [asked[position] for position in drawn]


def tie(seed: int, position: int) -> int:
    """What orders examples that are equal otherwise: the dataset's own order would prefer its beginning."""
    return _hash(seed, "tie", position)


def check_curriculum(config: StarConfig, groups: Iterable[str | None]) -> None:
    """ValueError for a stage that names a group without train examples."""
    known = {group for group in groups if group is not None}
    for stage in config.curriculum:
        if unknown := sorted(set(stage.groups) - known):
            there = ", ".join(sorted(known)[:20]) or "none"
            raise ValueError(
                f"The stage from iteration {stage.from_iteration} names the group {unknown[0]!r}, which no "
                f"train example is in. The groups that there are: {there}."
            )


def sample_seed(job_seed: int, iteration: int, example_id: str, route: str, sample: int) -> int:
    """Seed of one completion, 0 <= seed < 2^31. Matters only when temperature > 0."""
    return _hash(job_seed, iteration, "sample", example_id, route, sample) >> 33


def training_seed(job_seed: int, iteration: int) -> int:
    """Seed of one training: the order of its batches and the fresh LoRA weights, 0 <= seed < 2^31."""
    return _hash(job_seed, iteration, "train") >> 33


def chance(seed: int, iteration: int, purpose: str, example_id: str) -> float:
    """A number in [0, 1) that depends on nothing but its arguments."""
    return _hash(seed, iteration, purpose, example_id) / 2**64


def shard_bounds(count: int, size: int) -> list[tuple[int, int]]:
    """Half-open slices of `range(count)`, each of at most `size`, of sizes that differ by at most one."""
    if size < 1:
        raise ValueError(f"a shard holds at least one example, not {size}")
    shards = -(-count // size)
    return [(count * n // shards, count * (n + 1) // shards) for n in range(shards)]


def _hash(*parts: object) -> int:
    """64 bits; the separator keeps ("1", "23") and ("12", "3") apart."""
    return int.from_bytes(blake2b(_joined(*parts).encode(), digest_size=8).digest(), "big")


def _joined(*parts: object) -> str:
    return "\x1f".join(str(part) for part in parts)
