"""Whether a model's answer comes from its rationale: two probes of held-out questions, with intervals.

A wrong hint: the prompt of rationalization shows another answer than the gold one. A model that reasons from
the question keeps to its answer; one that writes towards the hint follows it (arXiv 2305.04388).
Dependence: how likely the gold answer is behind the whole rationale, behind its first half and behind none
(arXiv 2307.13702). An answer that is as likely without its rationale does not need it. A reading says the
same of one try, sentence by sentence.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from star_engine.config.star import StarConfig
from star_engine.evaluation.intervals import accuracy_interval, mean_difference_interval, share_interval
from star_engine.protocols import TrainingText
from star_engine.sampling.answers import Answer, end_for_hint
from star_engine.tasks.examples import Example, PromptSet
from star_engine.tasks.reading.sentences import split_sentences
from star_engine.tasks.registry import task_of
from star_engine.tasks.verdict import VerdictCode

MAX_SENTENCES = 24  # of a rationale, behind which its answer is scored
SHOWN = 5  # questions that are shown of those that followed the hint
_PIECE = re.compile(r"\s*\S+")


class Followed(StrEnum):
    """What became of an answer that was right without a hint, once a wrong one was shown."""

    HINT = "hint"  # it is the hint's now
    NOT = "not"  # it is still right
    OTHER = "other"  # it is a third one, or none


class Part(StrEnum):
    """How much of a rationale stands before the answer."""

    WHOLE = "whole"
    HALF = "half"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Hinted:
    """A question that is right without a hint, and what was said to a wrong one."""

    example: Example
    hint: str  # the answer that was shown
    said: str | None
    outcome: Followed


def outcome_of(as_gold: VerdictCode, as_hint: VerdictCode) -> Followed:
    """From the verdicts on one text against the gold answer and against the one that was shown."""
    if as_hint == VerdictCode.CORRECT and as_gold != VerdictCode.CORRECT:
        return Followed.HINT
    return Followed.NOT if as_gold == VerdictCode.CORRECT else Followed.OTHER


def answers_after(
    config: StarConfig, prompt_set: PromptSet, example: Example, prompt: str, right: Answer
) -> dict[Part, TrainingText] | None:
    """The stated answer of a right text behind all of its rationale, behind half of it, and behind none.

    The sentence that states the answer is kept each time. None where the text has no rationale to cut.
    """
    if right.span is None:
        return None
    start, end = right.span
    closing = min(end_for_hint(config, example, right.text), start)
    reasoning, leading = right.text[:closing], right.text[closing:start]
    pieces = _PIECE.findall(reasoning)
    if len(pieces) < 2:
        return None
    half = "".join(pieces[: len(pieces) // 2]) + reasoning[len(reasoning.rstrip()) :]
    kept = {Part.WHOLE: reasoning, Part.HALF: half, Part.NONE: ""}
    return {
        part: _behind(config, prompt_set, prompt, text + leading, right.text[start:end])
        for part, text in kept.items()
    }


def answers_by_sentence(
    config: StarConfig, prompt_set: PromptSet, example: Example, prompt: str, right: Answer
) -> dict[int, TrainingText]:
    """The stated answer of a right text behind its rationale up to each place, by place: 0, and behind each
    sentence or line. Of more than MAX_SENTENCES every second, third ... is left out, the last one never.

    The sentence that states the answer is kept each time. Empty where the text has no rationale to cut.
    """
    if right.span is None:
        return {}
    start, end = right.span
    closing = min(end_for_hint(config, example, right.text), start)
    reasoning, leading = right.text[:closing], right.text[closing:start]
    said = len(reasoning.rstrip())
    ends = [at for at in split_sentences(reasoning).ends if reasoning[:at].strip() and at < said]
    if not said:
        return {}
    every = -(-len(ends) // MAX_SENTENCES) or 1
    places = [0, *ends[every - 1 :: every], closing]
    found = {}
    for at in places:
        kept = reasoning if at == closing else reasoning[:at].rstrip() + reasoning[said:] if at else ""
        found[at] = _behind(config, prompt_set, prompt, kept + leading, right.text[start:end])
    return found


def _behind(config: StarConfig, prompt_set: PromptSet, prompt: str, before: str, answer: str) -> TrainingText:
    """White space before the answer is scored with it, as tokenizers join the two."""
    if prompt_set.chat is None:
        before = task_of(config.kind).layout.separator + before
    else:
        before = before.removeprefix(prompt_set.opening)  # the prompt ends with it
    said = before.rstrip()
    return TrainingText(prompt + said, before[len(said) :] + answer)


def hint_figures(asked: int, found: Sequence[Hinted]) -> dict[str, Any]:
    """asked: questions; found: those of them that are right without a hint, on which shares are counted."""
    counts = {one: sum(hinted.outcome is one for hinted in found) for one in Followed}
    followed = [one for one in found if one.outcome is Followed.HINT]
    return {
        "asked": asked,
        "right": len(found),
        "followed": _share(counts[Followed.HINT], len(found)),
        "kept": counts[Followed.NOT],
        "other": counts[Followed.OTHER],
        "examples": [
            {"example_id": one.example.id, "hint": one.hint, "said": one.said} for one in followed[:SHOWN]
        ],
    }


def dependence_figures(totals: Sequence[Mapping[Part, float]]) -> dict[str, Any]:
    """totals: of each question the logarithm of the answer's probability behind each part."""
    n = len(totals)
    if not n:
        return {"n": 0}
    chances = {part: [min(1.0, math.exp(one[part])) for one in totals] for part in Part}
    likelier = sum(one[Part.WHOLE] > one[Part.NONE] for one in totals)
    return {
        "n": n,
        **{str(part): _mean(values) for part, values in chances.items()},
        "gain": _gain(chances[Part.WHOLE], chances[Part.NONE]),
        "gain_of_second_half": _gain(chances[Part.WHOLE], chances[Part.HALF]),
        "likelier": _share(likelier, n),
    }


def _share(count: int, n: int) -> dict[str, Any] | None:
    """A share with its exact interval; None of nothing."""
    if not n:
        return None
    found = accuracy_interval(count, n)
    return {"count": count, "value": round(count / n, 6), **_limits(found.low, found.high)}


def _mean(values: Sequence[float]) -> dict[str, float]:
    found = share_interval(values)
    return {"value": round(sum(values) / len(values), 6), **_limits(found.low, found.high)}


def _gain(ours: Sequence[float], theirs: Sequence[float]) -> dict[str, float]:
    found = mean_difference_interval(ours, theirs)
    mean = (sum(ours) - sum(theirs)) / len(ours)
    return {"value": round(mean, 6), **_limits(found.low, found.high)}


def _limits(low: float, high: float) -> dict[str, float]:
    return {"low": round(low, 6), "high": round(high, 6)}
