"""Whether there is anything to start from: few-shot prompting against guessing (section 5 of the paper).

STaR bootstraps from what the model already gets right for a reason. A model that only guesses keeps guesses.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import exp, lgamma, log, log1p
from typing import Any

from star_engine.config.star import Generation, StarConfig
from star_engine.evaluation.accuracy import EvaluationMode
from star_engine.tasks.examples import Example, folded
from star_engine.tasks.kind import Kind
from star_engine.tasks.registry import task_of

MAX_SHOWN = 3  # answers in a diagnosis
SHOWN = 120  # characters of each
WORTH_A_WARNING = 1 / 3  # of the answers: two or three choices, or an answer that every third row has


class Guesses:
    """How often a guess is right, from as many examples as come, one at a time.

    Some kinds know it of each example: with choices, one of as many texts as differ. For the others it is
    what a model gets right that always says the most common answer, counted on the rows beside the one that
    made it the most common. Else two equal answers among twenty would make 10 % of chance, and hide a model
    that solves three.
    """

    def __init__(self, kind: Kind) -> None:
        self._task = task_of(kind)
        self._answers: dict[str, int] = {}
        self._rarer = 0
        self._shares = 0.0
        self._known = 0

    def add(self, example: Example, count: int = 1) -> None:
        """Add examples that share this answer and these choices."""
        chance = self._task.guess_chance(example)
        if chance is not None:
            self._shares += count * chance
            self._known += count
        else:
            answer = folded(example.answer)
            self._answers[answer] = self._answers.get(answer, 0) + count

    def add_rarer(self, count: int) -> None:
        """Add examples whose answers are not the most common one."""
        self._rarer += count

    @property
    def most_common(self) -> tuple[str, int]:
        """The most common answer, folded, and how many examples have it; only of those it is a guess at."""
        return max(self._answers.items(), key=lambda item: item[1], default=("", 0))

    @property
    def chance(self) -> float:
        """The accuracy of guessing on other examples of the kind; 0 before any example has come."""
        return self._share_of(without_the_first(self.most_common[1]))

    @property
    def share(self) -> float:
        """The accuracy of guessing on these very examples."""
        return self._share_of(self.most_common[1])

    def _share_of(self, common: int) -> float:
        count = self._known + self._rarer + sum(self._answers.values())
        return (self._shares + common) / count if count else 0.0


def without_the_first(common: int) -> int:
    """Return how many rows with the most common answer show how common it is elsewhere; at least one."""
    return max(common - 1, min(common, 1))


def chance_level(kind: Kind, examples: Iterable[Example]) -> float:
    """The accuracy of guessing on these examples; 0 where there are none."""
    guesses = Guesses(kind)
    for example in examples:
        guesses.add(example)
    return guesses.chance


@dataclass(frozen=True, slots=True)
class Spark:
    """A few-shot baseline against chance. p_value: of a guesser being as good, one-sided, exact.

    judged: of the n examples asked, those that the test is over. Among choices these are the answers that
    could be read (right or wrong): the verifier takes no others, so they are not right by chance either. For
    open answers they are all examples.
    """

    mode: str  # the baseline that was looked at: the one that reasons, as STaR's own sampling does
    correct: int
    n: int
    judged: int
    chance: float
    p_value: float


def spark_mode(baselines: Sequence[str]) -> str:
    """The baseline that asks as STaR samples, with rationales, where it is measured; else the one that is."""
    reasoning = EvaluationMode.FEW_SHOT_COT.value
    return reasoning if reasoning in baselines else baselines[0]


@dataclass(frozen=True, slots=True)
class Answered:
    """A held-out example that a baseline did not get right."""

    question: str
    right: str
    said: str
    verdict: str


def spark_facts(
    mode: str,
    tally: Mapping[str, int],
    chance: float,
    config: StarConfig,
    failed: Sequence[Answered] = (),
) -> dict[str, Any]:
    """What the baselines phase records: the test, and a diagnosis where it finds no spark at the job's level.

    tally: correct, wrong and n of that baseline's answers. failed: some of those that are not right, to be
    shown with the diagnosis.
    """
    right, asked = tally["correct"], tally["n"]
    judged = right + tally["wrong"] if task_of(config.kind).takes_choices else asked
    p_value = round(binomial_tail(right, judged, chance), 6)
    found = Spark(mode, right, asked, judged, round(chance, 6), p_value)
    level = config.audits.spark_level
    missing = level is not None and found.p_value > level
    return {"spark": asdict(found)} | (
        {"diagnosis": advice(found, failed, config.generation)} if missing else {}
    )


def binomial_tail(correct: int, n: int, p: float) -> float:
    """P(X >= correct) for X binomial in n and p; terms are taken to the logarithm, so any n will do."""
    if correct <= 0 or p >= 1:
        return 1.0
    if p <= 0:
        return 0.0
    ways = lgamma(n + 1)
    terms = (
        exp(ways - lgamma(k + 1) - lgamma(n - k + 1) + k * log(p) + (n - k) * log1p(-p))
        for k in range(correct, n + 1)
    )
    return min(1.0, sum(terms))


def advice(found: Spark, failed: Sequence[Answered] = (), generation: Generation = Generation()) -> str:
    """Why the job pauses, what to do, and what the model said.

    The baseline is greedy, as every accuracy is, and where a job samples it may find what is never the
    likeliest text: of sums of four digits a small model had 4 to 6 % right greedily, and four distinct right
    texts among 16 tries for a third of the questions. So the advice names the tries that a probe makes.
    """
    how = "with" if found.mode == EvaluationMode.FEW_SHOT_COT else "without"
    read = "" if found.judged == found.n else f" ({found.judged} of its answers could be read)"
    return (
        f"Few-shot prompting {how} rationales answers {found.correct} of {found.n} held-out examples "
        f"right{read}, and guessing is right on {100 * found.chance:.1f} % (p = {found.p_value:.2f}): there "
        "is no spark to start from, and what would be kept is mostly luck. Give more or better few-shot "
        "examples, easier questions to begin with, or a stronger base model; or more held-out "
        f"examples, where they are few.{_sampled(generation)}{_shown(failed[:MAX_SHOWN])}"
    )


def _sampled(generation: Generation) -> str:
    if generation.temperature == 0:
        return ""
    return (
        f" The baseline is greedy, and this job samples {generation.samples_per_example} tries at "
        f"temperature {generation.temperature:g}, which can be right where the likeliest text is not: a "
        "probe of the same settings counts that. If it finds right reasoning, accept this and go on."
    )


def _shown(failed: Sequence[Answered]) -> str:
    if not failed:
        return ""
    said = "; ".join(
        f"to {_short(one.question)} it said {_short(one.said)} ({one.verdict}; right: {_short(one.right)})"
        for one in failed
    )
    return f" Some of its answers: {said}."


def _short(text: str) -> str:
    """Shorten a text to one line, keeping its end, where the answer stands."""
    line = " ".join(text.split())
    return repr(line if len(line) <= SHOWN else f"... {line[-SHOWN:]}")


def lucky_share(rate: float) -> float:
    """Estimate the share of lucky ones among the kept rationales, for a model halfway between guessing and
    perfect.
    """
    accuracy = (1 + rate) / 2
    return (1 - accuracy) * rate / ((1 - rate) * accuracy) if rate < 1 else 1.0


def upload_warnings(guesses: Guesses) -> list[str]:
    """What the owner of a dataset should know before using it: that many a right answer will be a guess."""
    chance = guesses.share
    if chance < WORTH_A_WARNING:
        return []
    answer, _ = guesses.most_common
    what = f"saying {answer[:40]!r} every time" if answer else "guessing among the choices"
    half = (1 + chance) / 2
    warning = (
        f"{what[0].upper()}{what[1:]} is right on {100 * chance:.0f} % of the examples. A right answer is "
        "then weak evidence of right reasoning: of the rationales kept from a model that is right on "
        f"{100 * half:.0f} %, expect {100 * lucky_share(chance):.0f} % to be lucky guesses. Questions with "
        "more choices or open answers make better training data."
    )
    return [warning]
