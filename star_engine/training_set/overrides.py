"""Manual overrides of verifier verdicts, and their effect on decisions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from star_engine.sampling.rationales import Rationale, RationaleKey
from star_engine.tasks.verdict import VerdictCode
from star_engine.training_set.rows import Decision

OVERRIDDEN = "overridden"


def overruled(rationales: Sequence[Rationale], verdicts: Mapping[RationaleKey, str]) -> list[Rationale]:
    """The rationales with these verdicts instead of their own. Filters, dedupe and cap hold for them too."""
    return [
        replace(item, verdict=verdicts[item.key]) if item.key in verdicts else item for item in rationales
    ]


def say_overridden(decisions: Sequence[Decision], verdicts: Mapping[RationaleKey, str]) -> list[Decision]:
    """Give the reason "overridden" to decisions that a person's verdict caused."""
    wrong = {key for key, verdict in verdicts.items() if verdict == VerdictCode.WRONG}
    return [replace(item, reason=OVERRIDDEN) if item.key in wrong else item for item in decisions]
