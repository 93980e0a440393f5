"""A second, independent way to judge answers: crude on purpose, and sharing no code with the verifiers.

Where the two disagree one of them is wrong, and a person should look. The dangerous side is an answer that
the verifier accepts and this does not: it is trained on.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Any

from star_engine.config.star import StarConfig
from star_engine.data.selection import chance
from star_engine.sampling.rationales import Rationale
from star_engine.tasks.examples import Example

SHOWN = 5  # disagreements that are shown in full
_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?(?:[eE]-?\d+)?(?:\s*/\s*\d+)?")


def audit_verdicts(
    config: StarConfig, iteration: int, examples: Mapping[str, Example], tries: Iterable[Rationale]
) -> dict[str, Any]:
    """Judge `audits.verdicts` of these tries, drawn by the job's seed, a second time.

    accepted: the verifier said correct and the second method does not; refused: the other way round;
    undecided: the second method has no opinion. What is shown is at most SHOWN of the disagreements.
    """
    drawn = sorted(tries, key=lambda one: _lot(config.seed, iteration, one))[: config.audits.verdicts]
    counts = {"checked": len(drawn), "agreed": 0, "accepted": 0, "refused": 0, "undecided": 0}
    shown: list[dict[str, Any]] = []
    for one in drawn:
        example = examples[one.key.example_id]
        found = second_opinion(str(config.kind), one.text, example.answer, example.choices)
        outcome = _compare(one.verdict == "correct", found)
        counts[outcome] += 1
        if outcome in ("accepted", "refused") and len(shown) < SHOWN:
            shown.append(
                {
                    "example_id": one.key.example_id,
                    "route": str(one.key.route),
                    "sample": one.key.sample,
                    "verdict": str(one.verdict),
                    "extracted": one.extracted,
                    "answer": example.answer,
                }
            )
    return {**counts, "disagreements": shown}


def second_opinion(kind: str, text: str, answer: str, choices: Sequence[str] | None) -> bool | None:
    """Whether the text ends with the answer; None for kinds without a second method."""
    if kind == "choice":
        return _last_choice(text, answer, choices or ())
    judge = _JUDGES.get(kind)
    return judge(text, answer) if judge else None


def _lot(seed: int, iteration: int, one: Rationale) -> float:
    return chance(seed, iteration, f"audit_verdict/{one.key.route}/{one.key.sample}", one.key.example_id)


def _compare(accepted: bool, found: bool | None) -> str:
    if found is None:
        return "undecided"
    if accepted == found:
        return "agreed"
    return "accepted" if accepted else "refused"


def _last_number(text: str, answer: str) -> bool:
    said, gold = _NUMBER.findall(text), _NUMBER.findall(answer)
    return bool(said and gold) and _value(said[-1]) == _value(gold[-1])


def _value(written: str) -> Fraction | None:
    over, _, under = written.replace(",", "").replace(" ", "").partition("/")
    try:
        return Fraction(over) / Fraction(under or "1")
    except (ValueError, ZeroDivisionError):
        return None


def _last_line_digits(text: str, answer: str) -> bool:
    lines = [line for line in text.splitlines() if line.strip()]
    return "</scratch>" in text and re.sub(r"\s", "", lines[-1]) == re.sub(r"\s", "", answer)


def _last_choice(text: str, answer: str, choices: Sequence[str]) -> bool:
    labels = re.findall(r"\(([A-Za-z])\)", text)
    if labels:
        said = ord(labels[-1].lower()) - ord("a")
    else:
        places = [text.casefold().rfind(choice.casefold()) for choice in choices]
        said = places.index(max(places)) if places and max(places) >= 0 else -1
    right = ord(answer.strip().strip("()").lower()) - ord("a")
    return 0 <= said < len(choices) and choices[said] == choices[right]


def _ends_with(text: str, answer: str) -> bool:
    said, gold = (
        re.sub(r"[\s.!$]+$", "", " ".join(unicodedata.normalize("NFKC", t).casefold().split()))
        for t in (text, answer)
    )
    return said.endswith(gold)


def _last_box(text: str, answer: str) -> bool | None:
    """The same characters, or the same number. Else no opinion: there are many ways to write one term."""
    _, _, behind = text.rpartition("\\boxed{") if "\\boxed{" in text else text.rpartition("####")
    said = behind.strip().rstrip(".$ ").removesuffix("}").replace(" ", "")
    gold = answer.replace(" ", "").strip("$")
    if said == gold:
        return True
    numbers = [_value(one) if _NUMBER.fullmatch(one) else None for one in (said, gold)]
    return numbers[0] == numbers[1] if None not in numbers else None


_JUDGES: Mapping[str, Callable[[str, str], bool | None]] = {
    "numeric": _last_number,
    "scratchpad": _last_line_digits,
    "exact": _ends_with,
    "math": _last_box,
}
