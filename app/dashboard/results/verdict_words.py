"""Why a rationale is trained on or not, in a person's words."""

from __future__ import annotations

from app.results.rationales import RationaleOut
from star_engine.filters.registry import REASONS

VERDICTS = {
    "correct": "It leads to the gold answer.",
    "wrong": "It leads to another answer than the gold one.",
    "unparsed": "It states no answer in a form that can be read.",
    "ambiguous": "It states several answers, or takes one back.",
    "error": "The verifier itself failed; that says nothing about the rationale.",
}
ROUTES = {
    "generated": "asked without a hint",
    "rationalized": "asked with the gold answer as a hint",
    "hinted": "asked without the answer, with a sentence put in that makes it call its tool",
    "given": "given by the dataset, not sampled",
    "probe": "asked without a hint to find a temperature, never trained on",
    "mixed": "mixed in from another dataset",
}
FINISHES = {"stop": "it ended by itself", "length": "it ran into the token limit"}
DECISIONS = ("kept", *REASONS)  # what `reason` of a rationale can be


def decision_words(found: RationaleOut) -> str:
    """Describe a decision in one sentence."""
    if found.decision is None:
        return "Not decided yet: the training set of its iteration is not built."
    if found.decision == "kept":
        return f"In the training set{', because a reviewer said that it is correct' * found.overridden}."
    return f"Not trained on: {REASONS.get(found.reason or '', found.reason or 'no reason is recorded')}."
