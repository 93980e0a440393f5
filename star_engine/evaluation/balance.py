"""The balance score of B-STaR, and the temperature that it chooses.

Section 4 of "B-STaR: Monitoring and Balancing Exploration and Exploitation in Self-Taught Reasoners" (arXiv
2412.17256). Of the tries at a question, n are selected for training and n' of these are distinct and right:

    bs = min(n' / n*, 1) * n' / n

where n* rows of a question are enough. Here the right tries are selected, so n' / n is the share of distinct
solutions among them; the paper's other factor, a reward model with a threshold, is not part of it. What is
distinct is said by `solution_key`: by the bare text, any temperature at which texts differ would look good.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from statistics import fmean
from typing import Any

from star_engine.config.controller import Controller
from star_engine.config.star import StarConfig
from star_engine.data.selection import steps_in
from star_engine.evaluation.solution_key import solution_key
from star_engine.evaluation.test_time import entropy_of
from star_engine.sampling.probes import of_place
from star_engine.sampling.rationales import Rationale
from star_engine.tasks.verdict import VerdictCode

DISTINCT = (1, 2, 4, 8)  # S of Pass@K-S


def rows_wanted(config: StarConfig, controller: Controller, iteration: int, examples: int) -> int:
    """n*: the distinct right tries of a question that are enough."""
    if controller.rows_wanted is not None:
        return controller.rows_wanted
    rows = steps_in(config.training.schedule, iteration) * config.training.batch_size
    return max(1, -(-rows // max(examples, 1)))


def balance_score(right: int, distinct: int, wanted: int) -> float:
    """bs of one question: 0 where no try is right, 1 where enough are and none repeats another."""
    if not 0 <= distinct <= right:
        raise ValueError(f"{distinct} of {right} right tries cannot be distinct")
    return min(distinct / wanted, 1.0) * distinct / right if right else 0.0


def choose(
    config: StarConfig,
    controller: Controller,
    iteration: int,
    examples: Sequence[str],
    asked: int,
    probes: Sequence[Rationale],
) -> dict[str, Any]:
    """The temperature of an iteration with the grid that it was chosen from, as its record holds it.

    examples: ids of the probed ones. asked: how many the iteration asks. Of equal scores the lowest
    temperature wins.
    """
    wanted = rows_wanted(config, controller, iteration, asked)
    grid = []
    for place, temperature in enumerate(controller.temperatures):
        found = explored(examples, of_place(config, place, probes))
        scores = [balance_score(right, distinct, wanted) for right, distinct in found]
        grid.append(
            {
                "temperature": temperature,
                "score": round(fmean(scores), 9),
                "right": sum(right for right, _ in found),
                "distinct": sum(distinct for _, distinct in found),
                "enough": round(fmean(distinct >= wanted for _, distinct in found), 6),
            }
        )
    best = max(grid, key=lambda one: (one["score"], -one["temperature"]))
    return {
        "temperature": best["temperature"],
        "score": best["score"],
        "rows_wanted": wanted,
        "probed": len(examples),
        "samples": config.generation.samples_per_example,
        "grid": grid,
    }


def explored(examples: Iterable[str], tries: Iterable[Rationale]) -> list[tuple[int, int]]:
    """Of each example how many tries are right, and how many distinct solutions these are."""
    keys: dict[str, list[str]] = defaultdict(list)
    for one in tries:
        if one.verdict == VerdictCode.CORRECT:
            keys[one.key.example_id].append(solution_key(one.text))
    return [(len(keys[name]), len(set(keys[name]))) for name in examples]


def exploration(examples: Sequence[str], samples: int, tries: Sequence[Rationale]) -> dict[str, Any] | None:
    """How much the tries without a hint explore: Pass@K-S, the share of distinct solutions, entropy in bits.

    Pass@K-S: the share of examples with S distinct right solutions or more among K tries. None where there
    is one try of an example, or no example.
    """
    if samples < 2 or not examples:
        return None
    found = explored(examples, tries)
    stated: dict[str, list[str | None]] = defaultdict(list)
    for one in tries:
        stated[one.key.example_id].append(one.extracted)
    right, distinct = (sum(column) for column in zip(*found, strict=True))
    return {
        "samples": samples,
        "pass": {
            str(count): round(fmean(unique >= count for _, unique in found), 6)
            for count in DISTINCT
            if count <= samples
        },
        "distinct_share": round(distinct / right, 6) if right else None,
        "entropy": round(fmean(entropy_of(stated[name]) for name in examples), 6),
    }
