"""What thoughts are worth, as it is recorded with an iteration."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from star_engine.evaluation.accuracy import EvaluationMode
from star_engine.evaluation.answer import Answer, Verdict
from star_engine.evaluation.report import percent
from star_engine.tasks.verdict import VerdictCode
from star_engine.thoughts import AskedQuestion, ScoredQuestion, Worth


def worth_facts(worth: Worth) -> dict[str, Any]:
    """Means in nats a token. `by_difficulty`: from the easiest fifth of the tokens to the hardest."""
    fifths = zip(worth.without_by_difficulty, worth.gain_by_difficulty, strict=True)
    return {
        "windows": worth.windows,
        "tokens": worth.tokens,
        "nll_base": None if worth.base is None else round(worth.base, 6),
        "nll_without": round(worth.without[0], 6),
        "nll_with": round(worth.mixed[0], 6),
        "gain": round(worth.gain, 6),
        "weight": round(worth.weight, 6),
        "by_tokens_ahead": [
            {"without": round(alone, 6), "with": round(mixed, 6)}
            for alone, mixed in zip(worth.without, worth.mixed, strict=True)
        ],
        "by_difficulty": [{"without": round(alone, 6), "gain": round(gain, 6)} for alone, gain in fifths],
    }


@dataclass(slots=True)
class ZeroShot:
    """Questions of one dataset, scored without and with thoughts, as they come in."""

    asked: int = 0
    too_long: int = 0
    _gold: list[tuple[float, float]] = field(default_factory=list)
    _right: list[tuple[bool, bool]] = field(default_factory=list)  # where there are choices

    def add(self, question: AskedQuestion, score: ScoredQuestion) -> None:
        """Take in what was found of a question."""
        self.asked += 1
        if not score.without:
            self.too_long += 1
            return
        both = (score.without, score.mixed)
        without, mixed = (_probability(logprobs, question.gold) for logprobs in both)
        self._gold.append((without, mixed))
        if len(question.answers) > 1:
            alone, thinking = (logprobs.index(max(logprobs)) == question.gold for logprobs in both)
            self._right.append((alone, thinking))

    def facts(self) -> dict[str, Any]:
        """`gold_probability`: mean probability of the gold answer, among the choices where there are any.
        `accuracy`: share of the questions whose likeliest choice is right.
        """
        found: dict[str, Any] = {"n": len(self._gold), "too_long": self.too_long}
        if self._gold:
            found["gold_probability"] = _means(self._gold)
        if self._right:
            found["accuracy"] = _means(self._right)
        return found


def generated_facts(verdicts: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """`generated`: the share of right answers that the model wrote itself, by EvaluationMode; nothing where
    nothing was asked.
    """
    thinking = verdicts.get(EvaluationMode.ADAPTER, ())
    plain = verdicts.get(EvaluationMode.ADAPTER_WITHOUT_THOUGHTS, ())
    if not thinking or not plain:
        return {}
    shares = {"without": _right(plain), "with": _right(thinking)}
    return {"generated": {"n": len(thinking), **shares}}


def _right(verdicts: Sequence[str]) -> float:
    return round(sum(one == VerdictCode.CORRECT for one in verdicts) / len(verdicts), 6)


def _probability(logprobs: Sequence[float], gold: int) -> float:
    if len(logprobs) == 1:
        return math.exp(logprobs[0])
    highest = max(logprobs)
    total = math.fsum(math.exp(one - highest) for one in logprobs)
    return math.exp(logprobs[gold] - highest) / total


def _means(pairs: Sequence[tuple[float, float]]) -> dict[str, float]:
    return {
        "without": round(fmean(one for one, _ in pairs), 6),
        "with": round(fmean(other for _, other in pairs), 6),
    }


def thinking_answer(
    method: str, measured: Mapping[int, Mapping[str, Any]], beside: Mapping[str, Mapping[str, Any]]
) -> Answer:
    """Say what thoughts were worth in the last measured iteration, and what they are compared with.

    `measured`: `worth_facts` by iteration; `beside`: those of the last iteration of each control, by name.
    No verdict is given: one job says nothing of other seeds.
    """
    if not measured:
        return Answer(Verdict.UNKNOWN, f"Of {method} no iteration has been measured yet.", None, None)
    number = max(measured)
    last = measured[number]
    sentence = (
        f"After iteration {number} of {method} a held-out token takes {last['nll_with']:.4f} nats with "
        f"thoughts and {last['nll_without']:.4f} without"
    )
    if last.get("nll_base") is not None:
        sentence += f"; the base model takes {last['nll_base']:.4f}"
    for dataset, asked in sorted(last.get("zero_shot", {}).items()):
        if (written := asked.get("generated")) is not None:
            sentence += (
                f". Of {written['n']} questions of {dataset}, without examples, it answers "
                f"{percent(written['with'])} right with thoughts and {percent(written['without'])} without"
            )
    others = [f"{name} {facts['nll_with']:.4f}" for name, facts in sorted(beside.items())]
    if others:
        sentence += f". Beside it, on the same documents: {', '.join(others)}."
    else:
        sentence += (
            ". Nothing it is compared with has been measured: the baselines random-thoughts, pauses and "
            "continued-training say whether the thoughts did it."
        )
    return Answer(Verdict.UNKNOWN, sentence, number, None)
