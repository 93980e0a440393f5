"""The balance score of B-STaR, and the temperature and the threshold that it chooses.

Section 4 of "B-STaR: Monitoring and Balancing Exploration and Exploitation in Self-Taught Reasoners" (arXiv
2412.17256). Of the tries at a question, n are selected for training and n' of these are distinct and right:

    bs = min(n' / n*, 1) * n' / n

where n* rows of a question are enough. Selected are the tries whose reward is above a threshold, wrong ones
with them if the scorer likes their texts, so that a threshold that lets many of these through scores less.
Without a scorer the right tries are selected, and n' / n is the share of distinct solutions among them. What
is distinct, `solution_key` says: by the bare text, any temperature at which texts differ would look good.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any

from star_engine.config.controller import Controller
from star_engine.config.star import StarConfig
from star_engine.data.selection import steps_in
from star_engine.evaluation.solution_key import solution_key
from star_engine.evaluation.test_time import entropy_of
from star_engine.sampling.probes import of_place
from star_engine.sampling.rationales import Rationale, RationaleKey
from star_engine.tasks.verdict import VerdictCode

DISTINCT = (1, 2, 4, 8)  # S of Pass@K-S and Reward@K-S
NO_REWARD = -1.0  # of a try that the scorer has not read


def rows_wanted(config: StarConfig, controller: Controller, iteration: int, examples: int) -> int:
    """n*: the distinct right tries of a question that are enough."""
    if controller.rows_wanted is not None:
        return controller.rows_wanted
    rows = steps_in(config.training.schedule, iteration) * config.training.batch_size
    return max(1, -(-rows // max(examples, 1)))


def balance_score(selected: int, distinct: int, wanted: int) -> float:
    """bs of one question: 0 where nothing is selected, 1 where enough is, all of it right and distinct."""
    if not 0 <= distinct <= selected:
        raise ValueError(f"{distinct} of {selected} selected tries cannot be distinct")
    return min(distinct / wanted, 1.0) * distinct / selected if selected else 0.0


def is_selected(one: Rationale, threshold: float | None) -> bool:
    """Whether a try is selected: by its reward, or without a threshold by its answer alone."""
    right = one.verdict == VerdictCode.CORRECT
    if threshold is None:
        return right
    return float(right) + (NO_REWARD if one.reward is None else one.reward) > threshold


def choose(
    config: StarConfig,
    controller: Controller,
    iteration: int,
    examples: Sequence[str],
    asked: int,
    probes: Sequence[Rationale],
    *,
    scored: bool = False,
) -> dict[str, Any]:
    """The temperature of an iteration, and its threshold, with the grid that they were chosen from, as its
    record holds them.

    examples: ids of the probed ones. asked: how many the iteration asks. scored: whether the probes have
    rewards; else there is no threshold. Of equal scores the lowest temperature wins, then the lowest
    threshold, which keeps the most.
    """
    wanted = rows_wanted(config, controller, iteration, asked)
    thresholds: Sequence[float | None] = controller.thresholds if scored else (None,)
    grid = []
    for place, temperature in enumerate(controller.temperatures):
        tries = of_place(config, place, probes)
        solutions = _solutions(tries)
        for threshold in thresholds:
            found = _selected(examples, tries, solutions, threshold)
            point = {"temperature": temperature} | ({} if threshold is None else {"threshold": threshold})
            grid.append(point | _facts(found, wanted))
    best = max(grid, key=lambda one: (one["score"], -one["temperature"], -one.get("threshold", 0.0)))
    names = ("temperature", "threshold", "score")
    return {
        **{name: best[name] for name in names if name in best},
        **({"scorer": controller.scorer} if scored else {}),
        "rows_wanted": wanted,
        "probed": len(examples),
        "samples": config.generation.samples_per_example,
        "grid": grid,
    }


def _facts(found: Sequence[tuple[int, int]], wanted: int) -> dict[str, Any]:
    """A point of the grid. found: of each question the selected tries, and the distinct right ones."""
    return {
        "score": round(fmean(balance_score(count, distinct, wanted) for count, distinct in found), 9),
        "selected": sum(count for count, _ in found),
        "distinct": sum(distinct for _, distinct in found),
        "enough": round(fmean(distinct >= wanted for _, distinct in found), 6),
    }


def _solutions(tries: Iterable[Rationale]) -> dict[RationaleKey, str]:
    return {one.key: solution_key(one.text) for one in tries if one.verdict == VerdictCode.CORRECT}


def _selected(
    examples: Iterable[str],
    tries: Iterable[Rationale],
    solutions: Mapping[RationaleKey, str],
    threshold: float | None,
) -> list[tuple[int, int]]:
    """Of each example how many tries are selected, and how many distinct right solutions are among them."""
    counts: Counter[str] = Counter()
    distinct: dict[str, set[str]] = defaultdict(set)
    for one in tries:
        if is_selected(one, threshold):
            counts[one.key.example_id] += 1
            if one.key in solutions:
                distinct[one.key.example_id].add(solutions[one.key])
    return [(counts[name], len(distinct[name])) for name in examples]


def explored(examples: Iterable[str], tries: Sequence[Rationale]) -> list[tuple[int, int]]:
    """Of each example how many tries are right, and how many distinct solutions these are."""
    return _selected(examples, tries, _solutions(tries), None)


def exploited(examples: Sequence[str], samples: int, tries: Iterable[Rationale]) -> dict[str, float] | None:
    """Reward@K-S: the share of examples whose S best rewarded tries are all right; S = 1 is Best-of-K.

    By what the scorer says, not by the answer. Of equal rewards the tries count in their order. None where
    tries have no reward.
    """
    by_example: dict[str, list[Rationale]] = defaultdict(list)
    for one in tries:
        by_example[one.key.example_id].append(one)
    if any(one.reward is None for found in by_example.values() for one in found) or not by_example:
        return None
    right: dict[str, list[bool]] = {}
    for name, found in by_example.items():
        found.sort(key=lambda one: (-(one.reward or 0.0), one.key.sample))
        right[name] = [one.verdict == VerdictCode.CORRECT for one in found]
    return {
        str(count): round(
            fmean(len(right.get(name, ())) >= count and all(right[name][:count]) for name in examples), 6
        )
        for count in DISTINCT
        if count <= samples
    }


def exploration(examples: Sequence[str], samples: int, tries: Sequence[Rationale]) -> dict[str, Any] | None:
    """How much the tries without a hint explore: Pass@K-S, the share of distinct solutions, entropy in bits.

    Pass@K-S: the share of examples with S distinct right solutions or more among K tries. With rewards how
    far they tell right tries: see `exploited`. None where there is one try of an example, or no example.
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
        **({} if (rewarded := exploited(examples, samples, tries)) is None else {"rewarded": rewarded}),
    }
