"""How much work and memory a job on documents is, known before it begins."""

from __future__ import annotations

from pathlib import Path

from app.jobs.workload import BYTES_PER_TOKEN, TRAINED_PER_SECOND, RoughOut, WorkOut
from app.tables.data import Dataset, Model
from star_engine.adapters.thought_memory import ModelShape, training_bytes
from star_engine.adapters.weight_files import parameter_count
from star_engine.config.star import StarConfig

GIB = 2**30
BYTES_PER_WEIGHT = 2  # bfloat16, as a GPU holds the base model


def memory_gib(model: Model, config: StarConfig, *, checkpointed: bool) -> float | None:
    """What a step takes of a GPU's memory at most, weights included; None: the model's files are on workers
    only. `checkpointed`: where its passes are computed twice, as a worker does that has no room otherwise.
    """
    method, folder = config.quiet_star, Path(model.location)
    if method is None or not folder.is_dir():
        return None
    try:
        shape, weights = ModelShape.of(folder), parameter_count(folder)
    except (OSError, ValueError):
        return None
    segments = [method.segment(number) for number in range(1, config.iterations + 1)]
    activations = max(
        training_bytes(one, shape, BYTES_PER_WEIGHT, checkpointed=checkpointed) for one in segments
    )
    return (activations + BYTES_PER_WEIGHT * weights) / GIB


def thought_work(config: StarConfig, model: Model, dataset: Dataset) -> WorkOut:
    """As `workload`, of a job on documents. Tokens of a step count each pass over its windows."""
    method = config.quiet_star
    if method is None:
        raise ValueError("the job's method is not quiet_star")
    numbers = range(1, config.iterations + 1)
    segments = [method.segment(number) for number in numbers]
    steps = [method.steps_in(number) for number in numbers]
    windows = method.batch_windows * method.window
    passes = [one.passes * (one.rationales if one.passes > 1 else 1) for one in segments]
    trained = sum(count * windows * times for count, times in zip(steps, passes, strict=True))
    characters = ((dataset.statistics or {}).get("characters") or {}).get("question") or {}
    size = float(characters.get("mean", 0)) * float(characters.get("count", 0)) / BYTES_PER_TOKEN
    slow, fast = (trained / speed for speed in TRAINED_PER_SECOND)
    needed, least = (memory_gib(model, config, checkpointed=one) for one in (False, True))
    return WorkOut(
        iterations=config.iterations,
        steps=steps,
        step_tokens=windows * max(passes),
        row_tokens=method.window,
        passes=[round(count * windows / size, 2) if size else 0.0 for count in steps],
        tokens=trained,
        tries=0,
        rough_gpu_seconds=RoughOut(low=round(fast, 1), high=round(slow, 1)),
        memory_gib=None if needed is None else round(needed, 2),
        checkpointed_memory_gib=None if least is None else round(least, 2),
    )
