"""The funnel from sampled to trained, as counts that sum exactly: each drop belongs to one stage."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from star_engine.filters.registry import FILTERS, REASONS
from star_engine.tasks.registry import task_of

KEPT = "kept"
SURPLUS = "surplus"
UNHINTED = "unhinted"
LOW_REWARD = "low_reward"
REWARD = "reward"  # the check that a try passes with a reward above the threshold of its iteration

# What takes a rationale out before it reaches this stage. In the order of the funnel; every reason once.
_SHORT = ("answer_only", "too_short")
CHECKS: Mapping[str, str] = {"hint_free": "hint_needed", "permuted_choices": "other_order"}  # check to reason
STAGES: Mapping[str, tuple[str, ...]] = {
    "sampled": (),
    "parsed": ("error", "truncated", "unparsed"),
    "answered": ("ambiguous",),
    "correct": ("wrong", "outvoted", "no_majority", "overridden"),
    "ended": ("run_on", UNHINTED),
    "deduplicated": ("duplicate",),
    "leak_free": (*(name for name in FILTERS if name not in _SHORT), *CHECKS.values()),
    "long_enough": _SHORT,
    "trained": (LOW_REWARD, "same_solution", "cap", SURPLUS),
}


def needed(checks: Iterable[str], kind: str, route: str) -> tuple[str, ...]:
    """Return those of these checks that a correct rationale of this kind and route has to pass."""
    fits = {"hint_free": route == "rationalized", "permuted_choices": task_of(kind).takes_choices}
    return tuple(check for check in checks if fits[check])


def funnel(fates: Iterable[tuple[str, str, int]]) -> dict[str, dict[str, int]]:
    """Count rationales by route and stage reached, from (route, reason or "kept", count).

    What a stage lost against the one before it is the sum of its reasons' counts, and "trained" is what was
    kept. Raises ValueError for a reason that no stage knows, so that nothing falls out of the sum.
    """
    lost: dict[str, dict[str, int]] = {}
    for route, reason, count in fates:
        if reason != KEPT and reason not in REASONS:
            raise ValueError(f"no stage of the funnel drops for {reason!r}")
        reasons = lost.setdefault(route, {})
        reasons[reason] = reasons.get(reason, 0) + count
    return {route: _descend(reasons) for route, reasons in sorted(lost.items())}


def _descend(counts: Mapping[str, int]) -> dict[str, int]:
    left = sum(counts.values())
    reached = {}
    for stage, reasons in STAGES.items():
        left -= sum(counts.get(reason, 0) for reason in reasons)
        reached[stage] = left
    return reached
