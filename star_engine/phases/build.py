"""From the tries of an iteration to its training set: what the build phase does, without a directory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from star_engine.config.star import StarConfig
from star_engine.diagnostics.iteration import Before, audit_iteration
from star_engine.filters.funnel import funnel
from star_engine.sampling.labels import labelled
from star_engine.sampling.rationales import Rationale
from star_engine.tasks.examples import Example, PromptSet
from star_engine.training_set.diagnosis import diagnose
from star_engine.training_set.mixing import mix_all
from star_engine.training_set.rows import (
    Decision,
    TrainingExample,
    audit_hints,
    build,
    decide,
    in_order,
    training_set_sha256,
)


@dataclass(frozen=True, slots=True)
class Built:
    """The decisions on own and mixed rationales, the rows of both, and what is recorded of the phase."""

    decisions: tuple[Decision, ...]
    rows: tuple[TrainingExample, ...]
    facts: dict[str, Any]


def build_iteration(
    config: StarConfig,
    prompt_set: PromptSet,
    iteration: int,
    examples: Sequence[Example],
    tries: Sequence[Rationale],
    before: Before,
    mixed: Mapping[str, Sequence[Example]],
) -> Built:
    """Decide, strip the hints, prove that they are gone, mix in. Raises HintLeak.

    `kept` of the facts counts own rows alone: too few of them pause a run, however many are mixed in.
    """
    rationales = in_order(examples, tries)
    seen = labelled(config, examples, rationales)
    decisions = decide(config, prompt_set, seen.examples, seen.rationales)
    own = build(config, prompt_set, seen.examples, seen.rationales, decisions)
    audit_hints(config, prompt_set, seen.examples, seen.rationales, own)
    added = mix_all(config, prompt_set, iteration, len(own), mixed)
    rows = (*own, *(row for one in added for row in one.rows))
    decided = (*decisions, *(decision for one in added for decision in one.decisions))
    enough = len(own) >= config.training_set.min_kept
    facts = {
        "kept": len(own),
        "mixed": len(rows) - len(own),
        "diagnosis": None if enough else diagnose(decisions),
        "funnel": funnel((str(d.key.route), d.reason, 1) for d in decided),
        "training_set_sha256": training_set_sha256(rows),
        "audits": audit_iteration(config, prompt_set, iteration, examples, rationales, decisions, before),
    }
    return Built(decided, rows, facts)
