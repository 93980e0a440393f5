"""Why too little was kept, in words, and what to change."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from star_engine.filters.funnel import KEPT
from star_engine.filters.registry import REASONS
from star_engine.training_set.rows import Decision

_ADVICE = {
    "wrong": "the answers are wrong: give more or better few-shot examples, easier examples to begin with, "
    "a stronger base model, or allow rationalization",
    "no_majority": "the tries at an example disagree: lower min_agreement, sample more of them, or lower "
    "generation.temperature",
    "outvoted": "most tries at an example agree on another answer: lower generation.temperature",
    "unparsed": "no answer could be read: let every few-shot example end the way the kind expects, and check "
    "that the model follows their layout",
    "truncated": "the text ran into generation.max_tokens before its answer: raise it, or shorten the "
    "few-shot examples",
    "ambiguous": "the text names more than one answer: let the few-shot examples end with one clear answer",
    "error": "the verifier failed on the text: look at the rule of these rationales",
    "overridden": "reviewers overruled the verdicts: let the verifier, or the reviewers, be looked at",
    "duplicate": "the tries of an example repeat each other: raise generation.temperature",
    "cap": "training_set.max_per_example is reached: raise it",
}


def diagnose(decisions: Sequence[Decision]) -> str:
    """What became of an iteration's rationales, the most frequent fate first, with advice for that one."""
    if not decisions:
        return "No rationales were sampled: the train split of this iteration is empty."
    counts = Counter(decision.reason for decision in decisions)
    kept = counts.pop(KEPT, 0)
    total = len(decisions)
    if not counts:
        return f"All {total} rationales were kept; training_set.min_kept asks for more than were sampled."
    fates = ", ".join(f"{count} {reason}" for reason, count in counts.most_common())
    reason = counts.most_common(1)[0][0]
    filtered = (
        f"the filter {reason!r} rejected correct rationales ({REASONS.get(reason)}): look at some of them"
    )
    advice = _ADVICE.get(reason, filtered)
    return f"{kept} of {total} rationales were kept; dropped: {fates}. Mostly, {advice}."
