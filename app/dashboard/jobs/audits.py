"""What an iteration's audits found, in sentences."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Found = Mapping[str, Any]


def audit_lines(audits: Found) -> list[tuple[str, str]]:
    """Label and sentence of each audit that has found something; figures of diagnostics/iteration.py."""
    told = [(label, say(audits[name])) for name, (label, say) in AUDITS.items() if audits.get(name)]
    return [(label, text) for label, text in told if text]


def _luck(found: Found) -> str:
    return (
        f"About {found['expected_lucky']:g} of {found['kept']:,} kept rationales are right by luck "
        f"(guessing gets {100 * found['chance']:.1f} %)."
    )


def _yield(found: Found) -> str:
    return (
        f"{found['solved']:,} of {found['asked']:,} examples that iteration {found['of_iteration']} taught "
        "with a hint are now solved without one."
    )


def _verdicts(found: Found) -> str:
    text = f"A second method agrees with {found['agreed']:,} of {found['checked']:,} verdicts"
    return f"{text}, {found['undecided']:,} it cannot decide." if found.get("undecided") else f"{text}."


def _determinism(found: Found) -> str:
    return f"{found['same_text']} of {found['checked']} tries come out the same when they are made again."


def _length(found: Found) -> str:
    if found["mean"] is None:
        return ""
    text = f"{found['mean']:.0f} tokens on average"
    drift = found.get("drift")
    return text + "." if drift is None else f"{text}, {100 * drift:+.1f} % against the iteration before."


def _style(found: Found) -> str:
    if not found["tries"]:
        return ""
    said = f"All {found['tries']:,} tries that ended by themselves have {found['mean']:.1f} tokens on average"
    if found["drift"] is None:
        return f"{said}."
    return (
        f"{said}, {100 * found['length_drift']:+.1f} % against the iteration before; their frequent words "
        f"and marks have moved by {found['drift']:.3f} bits (0: the same, 1: none in common)."
    )


def _diversity(found: Found) -> str:
    if None in (found["distinct_3"], found["solutions_per_example"]):
        return ""
    return (
        f"{100 * found['distinct_3']:.1f} % of word triples are distinct; "
        f"{found['solutions_per_example']:g} solutions per example."
    )


def _similarity(found: float) -> str:
    return f"{100 * found:.1f} % like the few-shot examples."


def _answer_end(found: Found) -> str:
    if not found["cut"]:
        return ""
    return f"{found['cut']:,} of {found['kept']:,} kept texts went on after their answer and were cut there."


def _hint_talk(found: Found) -> str:
    if not found["speaking"]:
        return ""
    return (
        f"{found['speaking']:,} of {found['generated']:,} kept texts speak of a hint that they were not "
        "shown: rationalized rows have taught them to. The check hint_free keeps such rows out."
    )


def _exploration(found: Found) -> str:
    shares = ", ".join(f"{100 * share:.1f} % have {count} or more" for count, share in found["pass"].items())
    repeated = ""
    if found["distinct_share"] is not None:
        repeated = f"; {100 * found['distinct_share']:.1f} % of the right tries are distinct"
    return (
        f"Distinct right solutions among {found['samples']} tries of an example: {shares}{repeated}; entropy "
        f"of the answers {found['entropy']:.2f} bits.{_rewarded(found)}"
    )


def _faithfulness(found: Found) -> str:
    hint, dependence = found["wrong_hint"], found["dependence"]
    told = []
    if (share := hint["followed"]) is not None:
        told.append(
            f"Shown a wrong answer, {share['count']} of {hint['right']} answers that are right without it "
            f"follow it ({_between(share)})."
        )
    if dependence["n"]:
        whole, half, none, gain = (
            100 * dependence[name]["value"] for name in ("whole", "half", "none", "gain")
        )
        told.append(
            f"The right answer has a probability of {whole:.1f} % behind its rationale, {half:.1f} % behind "
            f"half of it and {none:.1f} % behind none: {gain:+.1f} points by the rationale "
            f"({_between(dependence['gain'])}, {dependence['n']} questions)."
        )
    return " ".join(told)


def _between(found: Found) -> str:
    return f"95 % interval {100 * found['low']:.1f} to {100 * found['high']:.1f} %"


def _rewarded(found: Found) -> str:
    if "rewarded" not in found:
        return ""
    shares = ", ".join(
        f"the {count} best of {100 * share:.1f} %" for count, share in found["rewarded"].items()
    )
    return f" By the rewards of their tries all of these are right: {shares} of the examples."


AUDITS: Mapping[str, tuple[str, Callable[[Any], str]]] = {
    "luck": ("Luck", _luck),
    "rationalization_yield": ("Rationalization", _yield),
    "verdicts": ("Second opinion", _verdicts),
    "determinism": ("Determinism", _determinism),
    "length": ("Length", _length),
    "style": ("Style of what is learned", _style),
    "diversity": ("Diversity", _diversity),
    "exploration": ("Exploration", _exploration),
    "few_shot_similarity": ("Similarity", _similarity),
    "before_training": ("Before training", " ".join),
    "answer_end": ("Answer's end", _answer_end),
    "hint_talk": ("Speaks of hints", _hint_talk),
    "faithfulness": ("Faithfulness", _faithfulness),
}
