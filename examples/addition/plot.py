"""Tables and figure of `examples.addition.compare`: accuracy, and the digit pairs that were learned from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from examples.addition.arms import DIRECT, FEW_SHOT, GOLD, SAMPLED, STAR, WITHOUT
from examples.arm import percents

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

    from examples.addition.compare import Found

ABOVE_WITHOUT, ABOVE_FEW_SHOT = 10, 20  # points; what was claimed before the run
COMMAND = "python -m examples.addition.compare"
COLOURS = {STAR: "tab:blue", WITHOUT: "tab:red", SAMPLED: "tab:orange", GOLD: "tab:green", DIRECT: "tab:gray"}


def tables(found: Sequence[Found]) -> Iterator[str]:
    """What came out, as lines of Markdown."""
    yield from ("### Held-out accuracy, %", "")
    yield from header("base", "arm", "seed", "by iteration", "1/2/3/4 digits, last")
    for one in found:
        for mode in (mode for mode in FEW_SHOT if mode in one.few_shot):
            share = percents([one.few_shot[mode]])
            yield row(one.base, f"base model, {mode.replace('_', ' ')}", one.seed, share, "")
        digits = percents(list(one.by_digits[-1].values())).replace(" ", "/")
        yield row(one.base, one.arm, one.seed, percents(one.accuracy), digits)
    yield from ("", "### What the claims come to, in points", "")
    differences_of = ("with - without, by iteration", "with - 4 tries", "last - few-shot", "last - direct")
    yield from header("base", "seed", *differences_of, "held")
    yield from claims(found)
    yield from ("", "### What was learned from, by iteration", "")
    learned = ("rows", "digit pairs of 100", "true working", "hinted: right of asked")
    yield from header("base", "arm", "seed", *learned)
    for one in found:
        rows = " ".join(str(a.rows) for a in one.sets)
        pairs = " ".join(str(a.pairs) for a in one.sets)
        true = "-" if one.arm == DIRECT else " ".join(str(a.true) for a in one.sets)
        hinted = ", ".join(f"{a.hinted_right} of {a.hinted}" for a in one.sets) if one.sets[0].hinted else "-"
        yield row(one.base, one.arm, one.seed, rows, pairs, true, hinted)
    seeds = max(one.seed for one in found) + 1
    yield from ("", f"`{COMMAND} --seeds {seeds}`, on one of two shared CPU cores.")


def header(*names: str) -> tuple[str, str]:
    return row(*names), row(*("---" for _ in names))


def row(*cells: object) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def claims(found: Sequence[Found]) -> Iterator[str]:
    """A row for each base and seed at which STaR and its ablation were run."""
    by_key = {(one.base, one.seed, one.arm): one for one in found}
    for base, seed in dict.fromkeys((one.base, one.seed) for one in found):
        star, without = by_key.get((base, seed, STAR)), by_key.get((base, seed, WITHOUT))
        if star is None or without is None:
            continue
        ahead = differences(star, without)
        sampled, direct = by_key.get((base, seed, SAMPLED)), by_key.get((base, seed, DIRECT))
        over_sampled = differences(star, sampled) if sampled else []
        over_direct = [100 * (star.accuracy[-1] - direct.accuracy[-1])] if direct else []
        few_shot = 100 * (star.accuracy[-1] - star.few_shot["few_shot_cot"])
        held = min([ahead[0], *over_sampled[:1]]) >= ABOVE_WITHOUT and few_shot >= ABOVE_FEW_SHOT
        shown = map(points, (ahead, over_sampled, [few_shot], over_direct))
        yield row(base, seed, *shown, "yes" if held else "**no**")


def differences(one: Found, other: Found) -> list[float]:
    """In points, iteration by iteration."""
    return [100 * (mine - theirs) for mine, theirs in zip(one.accuracy, other.accuracy, strict=False)]


def points(values: Sequence[float]) -> str:
    return " ".join(f"{value:+.1f}" for value in values) or "-"


def draw(found: Sequence[Found], path: Path) -> None:
    """Accuracy above, digit pairs in the training set below, a column for each base; bands are the seeds."""
    import matplotlib as mpl

    mpl.use("svg")
    import matplotlib.pyplot as plt

    mpl.rcParams["svg.hashsalt"] = "star"  # the same data draw the same file
    bases = sorted({one.base for one in found})
    figure, axes = plt.subplots(
        2, len(bases), figsize=(4.5 * len(bases), 6), sharey="row", squeeze=False, layout="constrained"
    )
    for column, base in enumerate(bases):
        here = [one for one in found if one.base == base]
        above, below = axes[0][column], axes[1][column]
        few_shot = [one.few_shot["few_shot_cot"] for one in here if one.few_shot]
        for arm in (STAR, SAMPLED, WITHOUT):
            runs = [one for one in here if one.arm == arm]
            starts = [[start, *one.accuracy] for one, start in zip(runs, few_shot, strict=False)]
            _band(above, arm, [[100 * value for value in line] for line in starts], 0)
            _band(below, arm, [[float(one.pairs) for one in run.sets] for run in runs], 1)
        for arm in (GOLD, DIRECT):
            ends = [100 * one.accuracy[-1] for one in here if one.arm == arm]
            if ends:
                above.axhline(fmean(ends), color=COLOURS[arm], linestyle="--", label=arm)
        seeds = len({one.seed for one in here})
        above.set(title=f"base {base}, {seeds} seed{'s' * (seeds > 1)}", ylim=(-3, 103), xticks=range(4))
        below.set(xlabel="iteration (0: few-shot)", ylim=(-3, 103), xlim=above.get_xlim(), xticks=range(4))
        for axis in (above, below):
            axis.grid(alpha=0.3)
    axes[0][0].set_ylabel("held-out accuracy, %")
    axes[1][0].set_ylabel("digit pairs in the training set, of 100")
    named: dict[str, Artist] = {}
    for axis in axes[0]:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            named.setdefault(label, handle)
    shown = {"handles": list(named.values()), "labels": list(named)}
    figure.legend(**shown, loc="outside lower center", ncols=3, fontsize="small")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})


def _band(axis: Axes, arm: str, lines: Sequence[Sequence[float]], first: int) -> None:
    if not lines:
        return
    steps = range(first, first + len(lines[0]))
    axis.plot(
        steps, [fmean(at) for at in zip(*lines, strict=True)], marker="o", color=COLOURS[arm], label=arm
    )
    low, high = ([pick(at) for at in zip(*lines, strict=True)] for pick in (min, max))
    axis.fill_between(steps, low, high, color=COLOURS[arm], alpha=0.15)
