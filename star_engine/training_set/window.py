"""Which iterations' training sets are trained on, and what of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence

from star_engine.config.star import StarConfig
from star_engine.sampling.rationales import Route
from star_engine.training_set.rows import TrainingExample


def window(config: StarConfig, iteration: int) -> range:
    """The iterations whose training sets iteration n trains on, oldest first; the last is n itself."""
    size = config.training_set.window
    return range(1 if size == "all" else max(1, iteration - size + 1), iteration + 1)


def in_window(config: StarConfig, sets: Sequence[Sequence[TrainingExample]]) -> tuple[TrainingExample, ...]:
    """Select what is trained on: the last of these training sets, then from each earlier one what is new.

    Deduplication and the cap hold over the whole window, and the newest rows come first. Every set has
    passed its own audit when it was built.
    """
    options = config.training_set
    seen: set[tuple[Hashable, str, str]] = set()
    count: Counter[Hashable] = Counter()
    chosen: list[TrainingExample] = []
    for row in (row for rows in reversed(sets) for row in rows):
        name = (row.key.example_id, row.key.sample if row.key.route is Route.MIXED else None)
        text = (name, row.prompt, row.completion)
        full = options.max_per_example is not None and count[name] >= options.max_per_example
        if full or (options.dedupe and text in seen):
            continue
        seen.add(text)
        count[name] += 1
        chosen.append(row)
    return tuple(chosen)
