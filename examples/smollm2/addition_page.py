"""Tables and plot of `examples.smollm2.addition`, from what its arms have recorded so far."""

from __future__ import annotations

import os
import platform
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from examples.addition.generate import Addition, work_out
from examples.addition.plot import header, row
from examples.smollm2.addition import DIRECT, FEW_SHOT, GOLD, LONGER, STAR, WITHOUT
from star_engine.adapters.probe import installed_versions
from star_engine.evaluation.accuracy import EvaluatedAnswer, EvaluationMode
from star_engine.evaluation.intervals import accuracy_interval, difference_interval, sign_test
from star_engine.run_directory import RunDirectory, lines_of
from star_engine.sampling.rationales import Route

BASELINES = {
    EvaluationMode.FEW_SHOT_DIRECT: "base model, few-shot direct",
    EvaluationMode.FEW_SHOT_COT: "base model, few-shot with working",
}


@dataclass(frozen=True, slots=True)
class Point:
    """One model, asked the held-out sums."""

    arm: str
    iteration: int  # 0: the base model
    name: str
    right: Mapping[str, bool]  # by sum
    digits: Mapping[str, tuple[int, int]]  # right and asked, by digit count
    unread: int  # answers without an end, or that no answer could be read from
    rows: int = 0
    shown: int = 0  # rows that were learned, each counted as often as it was shown
    tokens: int = 0
    loss: float = 0.0

    @property
    def share(self) -> float:
        return sum(self.right.values()) / len(self.right)

    def of(self, count: str) -> float:
        right, asked = self.digits[count]
        return right / asked


def read(directories: Mapping[str, RunDirectory]) -> list[Point]:
    """Every model that was asked so far, in the order of the tables."""
    few_shot = directories[FEW_SHOT]
    done = few_shot.metrics().get(0, {}).get("baselines", {})
    found = [
        _point(FEW_SHOT, 0, name, few_shot.answers(0, mode))
        for mode, name in BASELINES.items()
        if mode in done
    ]
    for arm in (DIRECT, LONGER, GOLD, STAR, WITHOUT):
        for number, metrics in sorted(directories[arm].metrics().items()):
            if number and "accuracy" in metrics:
                name = f"{arm}, iteration {number}" if arm in (STAR, WITHOUT) else arm
                answers = directories[arm].answers(number, EvaluationMode.ADAPTER)
                report = metrics["training"]
                learned = report["training_examples"], report["examples_seen"], report["tokens"]
                found.append(_point(arm, number, name, answers, *learned, report["loss_last"]))
    return found


def _point(arm: str, number: int, name: str, answers: Sequence[EvaluatedAnswer], *learned: float) -> Point:
    asked, right = Counter[str](), Counter[str]()
    for answer in answers:
        asked[str(answer.group)] += 1
        right[str(answer.group)] += answer.verdict == "correct"
    digits = {count: (right[count], asked[count]) for count in sorted(asked)}
    unread = sum(one.verdict == "unparsed" or one.finish_reason == "length" for one in answers)
    rights = {one.example_id: one.verdict == "correct" for one in answers}
    return Point(arm, number, name, rights, digits, unread, *learned)  # type: ignore[arg-type]


def tables(found: Sequence[Point], directories: Mapping[str, RunDirectory], seconds: Path) -> Iterator[str]:
    """What came out, as lines of Markdown."""
    counts = list(found[0].digits)
    yield from ("### Held-out accuracy", "")
    digits = (f"{count} digit{'s' * (count != '1')}" for count in counts)
    yield from header("model", "rows", "rows shown", "tokens", *digits, "all", "95 %", "unread")
    for one in found:
        limits = accuracy_interval(sum(one.right.values()), len(one.right))
        learned = (one.rows, f"{one.shown:,}", f"{one.tokens:,}") if one.shown else ("", "", "")
        shares = (f"{one.of(count):.0%}" for count in counts)
        interval = f"{limits.low:.0%} to {limits.high:.0%}"
        yield row(one.name, *learned, *shares, f"{one.share:.1%}", interval, one.unread)
    yield from ("", "### Held against each other", "")
    yield from (
        "The same held-out sums, paired: 95 % interval (of the questions alone), exact sign test.",
        "",
    )
    yield from header("model", "against", "difference", "95 %", "p")
    yield from comparisons(found)
    yield from ("", "### What was learned from", "")
    yield from header(
        "arm",
        "iteration",
        "solved",
        "generated kept",
        "rationalized kept",
        "true working",
        "hinted: right of asked",
        "last loss",
    )
    yield from training_sets(found, directories)
    yield from ("", *_machine(seconds))


def comparisons(found: Sequence[Point]) -> Iterator[str]:
    """STaR's last iteration against all else, its ablation at equal iterations, working against none."""
    curves = {arm: [one for one in found if one.arm == arm] for arm in (STAR, WITHOUT)}
    once = {one.name: one for one in found if one.arm not in curves}
    pairs = [(curves[STAR][-1], other) for other in once.values()] if curves[STAR] else []
    pairs += zip(curves[STAR], curves[WITHOUT], strict=False)
    pairs += [(once[GOLD], once[name]) for name in (DIRECT, LONGER) if GOLD in once and name in once]
    for one, other in pairs:
        gained = sum(one.right[key] and not other.right[key] for key in one.right)
        lost = sum(other.right[key] and not one.right[key] for key in one.right)
        limits = difference_interval(gained, lost, len(one.right))
        difference = f"{100 * (gained - lost) / len(one.right):+.1f} points"
        interval = f"{100 * limits.low:+.0f} to {100 * limits.high:+.0f}"
        yield row(one.name, other.name, difference, interval, f"{sign_test(gained, lost):.2g}")


def training_sets(found: Sequence[Point], directories: Mapping[str, RunDirectory]) -> Iterator[str]:
    for one in found:
        if one.arm not in (STAR, WITHOUT):
            continue
        directory = directories[one.arm]
        kept, true = Counter[Route](), 0
        for line in directory.training_set(one.iteration):
            kept[line.key.route] += 1
            left, right = map(int, line.key.example_id.split("+"))
            true += line.completion.strip() == "\n".join(work_out(Addition(left, right)))
        solved = directory.metrics()[one.iteration]["solve_rate"]
        yield row(
            one.arm,
            one.iteration,
            f"{solved:.1%}",
            kept[Route.GENERATED],
            kept[Route.RATIONALIZED],
            true,
            _hinted(directory, one.iteration),
            f"{one.loss:.3f}",
        )


def _hinted(directory: RunDirectory, number: int) -> str:
    """Hinted tries that were right, of those that were made, by digit count."""
    tries, right = Counter[int](), Counter[int]()
    for one in directory.rationales(number):
        if one.key.route is Route.RATIONALIZED:
            count = len(one.key.example_id.partition("+")[0])
            tries[count] += 1
            right[count] += one.verdict == "correct"
    said = (f"{count} digit{'s' * (count != 1)} {right[count]} of {tries[count]}" for count in sorted(tries))
    return ", ".join(said) or "-"


def _machine(seconds: Path) -> Iterator[str]:
    spent = sum(line["seconds"] for line in lines_of(seconds))
    versions = ", ".join(f"{name} {version}" for name, version in installed_versions().items())
    yield f"{spent / 60:.0f} minutes on one thread of {os.cpu_count()} shared cores ({platform.machine()}),"
    yield f"float32; Python {platform.python_version()}, {versions}."


def draw(found: Sequence[Point], path: Path) -> None:
    """Held-out accuracy over the iterations, per digit count and over all; iteration 0 is few-shot."""
    import matplotlib as mpl

    mpl.use("svg")
    import matplotlib.pyplot as plt

    mpl.rcParams["svg.hashsalt"] = "star"  # the same data draw the same file
    [start] = [one for one in found if one.name == BASELINES[EvaluationMode.FEW_SHOT_COT]]
    figure, axes = plt.subplots(1, 3, figsize=(11, 3.6), sharey=True, layout="constrained")
    longest = 1
    for axis, arm in zip(axes, (STAR, WITHOUT), strict=False):
        line = [start, *(one for one in found if one.arm == arm)]
        longest = max(longest, len(line) - 1)
        for count in start.digits:
            label = f"{count} digit{'s' * (count != '1')}"
            axis.plot([100 * one.of(count) for one in line], marker="o", label=label)
        axis.set(title=arm)
        axes[2].plot([100 * one.share for one in line], marker="o", label=arm)
    for arm, dashes in ((DIRECT, "--"), (LONGER, ":"), (GOLD, "-.")):
        for one in found:
            if one.arm == arm:
                axes[2].axhline(100 * one.share, color="gray", linestyle=dashes, label=arm)
    axes[2].set(title="all digit counts")
    for axis in axes:
        axis.set(xlabel="iteration (0: few-shot)", xticks=range(longest + 1), ylim=(-3, 103))
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("held-out accuracy, %")
    axes[0].legend(fontsize="small")
    axes[2].legend(fontsize="x-small")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})
