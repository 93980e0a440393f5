"""What a job found out: Table 1 and Figure 4 of the paper for the user's own data, and how sure they are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from star_engine.config.presets import star
from star_engine.config.quiet_star import Thoughts
from star_engine.config.selection import SelectionOrder
from star_engine.config.star import Labels, StarConfig
from star_engine.config.training_set import Source
from star_engine.evaluation.accuracy import EvaluationMode
from star_engine.evaluation.intervals import (
    Interval,
    accuracy_interval,
    difference_interval,
    level_for_best_of,
    sign_test,
)

STAR = "STaR"
ON_ANSWERS = "fine-tuning on the answers"
ON_SOLUTIONS = "fine-tuning on the worked solutions"


_THINKING = {
    Thoughts.SAMPLED: "Quiet-STaR",
    Thoughts.RANDOM: "random thoughts",
    Thoughts.PAUSE: "pauses",
    Thoughts.OFF: "continued training",
}


def method_of(config: StarConfig) -> str:
    """What made a job's adapters, as reports call it."""
    if config.quiet_star is not None:
        return _THINKING[config.quiet_star.thoughts]
    if config.training_set.source is not Source.RATIONALES:
        return ON_ANSWERS if config.training_set.source is Source.ANSWERS else ON_SOLUTIONS
    if config.preference is not None:
        return "iterative RPO" if config.labels is Labels.GOLD else "ScPO"
    if config.self_distillation is not None:
        wrong = config.self_distillation.hint == "wrong"
        return f"on-policy self-distillation{' with wrong hints' if wrong else ''}"
    if config.trained_verifier is not None:
        return "the generator of V-STaR"
    if config.hints is not None:
        return "START"
    if config.controller is not None:
        return "B-STaR"
    return "AdaSTaR" if config.selection.order is SelectionOrder.ADAPTIVE else STAR


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Which held-out examples were answered right, by a baseline (iteration 0) or by M_n."""

    mode: EvaluationMode
    iteration: int
    correct: Mapping[int, bool]  # row id of the example

    @property
    def share(self) -> float:
        """The share of held-out examples answered right. At least one was asked."""
        return sum(self.correct.values()) / len(self.correct)


@dataclass(frozen=True, slots=True)
class Difference:
    """The difference to the reference over the examples both answered. `gained` is right here and
    wrong there.
    """

    n: int
    gained: int
    lost: int
    points: float  # (gained - lost) / n
    interval: Interval
    p_value: float  # exact sign test; both are of this pair alone unless corrected for a choice


@dataclass(frozen=True, slots=True)
class GroupAccuracy:
    n: int
    correct: int
    accuracy: float
    interval: Interval


@dataclass(frozen=True, slots=True)
class AccuracyRow:
    mode: EvaluationMode
    iteration: int
    n: int
    correct: int
    accuracy: float
    interval: Interval
    by_group: Mapping[str, GroupAccuracy]
    difference: Difference | None  # None: this is the reference, or there is none


@dataclass(frozen=True, slots=True)
class Churn:
    """Outcomes of the train examples that iteration n tried without a hint; the four add up to `asked`."""

    iteration: int
    asked: int
    newly_solved: int  # for the first time
    retained: int  # now, and in an earlier iteration
    forgotten: int  # in an earlier iteration, and not now
    never: int  # not so far


@dataclass(frozen=True, slots=True)
class Switch:
    """One setting; `preset` is its value in the preset `star` for this kind of task."""

    name: str
    value: Any
    preset: Any


def churn(tries: Iterable[tuple[int, int, bool]]) -> Iterator[Churn]:
    """Compute churn from (iteration, example, solved without hint), with iterations in ascending order."""
    solved_before: set[int] = set()
    by_iteration: dict[int, dict[int, bool]] = defaultdict(dict)
    for iteration, example, solved in tries:
        by_iteration[iteration][example] = solved or by_iteration[iteration].get(example, False)
    for iteration, examples in sorted(by_iteration.items()):
        solved_now = {example for example, solved in examples.items() if solved}
        failed_now = examples.keys() - solved_now
        yield Churn(
            iteration=iteration,
            asked=len(examples),
            newly_solved=len(solved_now - solved_before),
            retained=len(solved_now & solved_before),
            forgotten=len(failed_now & solved_before),
            never=len(failed_now - solved_before),
        )
        solved_before |= solved_now


def accuracy_rows(outcomes: Sequence[Outcomes], groups: Mapping[int, str]) -> tuple[AccuracyRow, ...]:
    """Baselines first, then iterations. `groups`: row id of an example to its group, where it has one."""
    asked = [item for item in outcomes if item.correct]
    against = reference(asked)
    order = sorted(asked, key=lambda item: (item.iteration, list(EvaluationMode).index(item.mode)))
    return tuple(_row(item, against, groups) for item in order)


def reference(outcomes: Iterable[Outcomes]) -> Outcomes | None:
    """The few-shot baseline that STaR has to beat: the better one, with rationales if they are level."""
    baselines = [item for item in outcomes if item.mode is not EvaluationMode.ADAPTER and item.correct]
    return max(
        baselines, key=lambda item: (item.share, item.mode is EvaluationMode.FEW_SHOT_COT), default=None
    )


def difference(one: Mapping[int, bool], other: Mapping[int, bool], *, choices: int = 1) -> Difference | None:
    """How far `one` is ahead on the examples that both answered; None if there are none.

    choices: of how many `one` was chosen on these examples; p and interval are corrected for it (Bonferroni).
    """
    both = one.keys() & other.keys()
    if not both:
        return None
    gained = sum(one[example] and not other[example] for example in both)
    lost = sum(other[example] and not one[example] for example in both)
    return Difference(
        n=len(both),
        gained=gained,
        lost=lost,
        points=(gained - lost) / len(both),
        interval=difference_interval(gained, lost, len(both), level_for_best_of(choices)),
        p_value=min(1.0, choices * sign_test(gained, lost)),
    )


def switches(config: StarConfig) -> tuple[Switch, ...]:
    """Return every setting by its dotted name, with the preset's value."""
    usual = dict(_flat("", star(config.kind).model_dump(mode="json")))
    return tuple(
        Switch(name, value, usual.get(name)) for name, value in _flat("", config.model_dump(mode="json"))
    )


def flat_settings(config: StarConfig) -> Iterator[tuple[str, Any]]:
    """Every setting by its dotted name."""
    return _flat("", config.model_dump(mode="json"))


def _flat(path: str, settings: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(f"{path}{name}.", value)
        else:
            yield f"{path}{name}", value


def _row(item: Outcomes, against: Outcomes | None, groups: Mapping[int, str]) -> AccuracyRow:
    correct, n = sum(item.correct.values()), len(item.correct)
    compared = None if against is None or against is item else difference(item.correct, against.correct)
    return AccuracyRow(
        mode=item.mode,
        iteration=item.iteration,
        n=n,
        correct=correct,
        accuracy=correct / n,
        interval=accuracy_interval(correct, n),
        by_group=_by_group(item.correct, groups),
        difference=compared,
    )


def _by_group(correct: Mapping[int, bool], groups: Mapping[int, str]) -> dict[str, GroupAccuracy]:
    found: dict[str, list[bool]] = defaultdict(list)
    for example, right in correct.items():
        if example in groups:
            found[groups[example]].append(right)
    return {
        group: group_accuracy(sum(found[group]), len(found[group])) for group in sorted(found, key=_natural)
    }


def group_accuracy(correct: int, n: int) -> GroupAccuracy:
    return GroupAccuracy(n, correct, correct / n, accuracy_interval(correct, n))


def _natural(group: str) -> tuple[int, str]:
    """2 digits come before 10 digits."""
    return (int(group) if group.isascii() and group.isdigit() and len(group) < 10 else -1, group)


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def points(share: float) -> str:
    return f"{100 * share:+.1f}"
