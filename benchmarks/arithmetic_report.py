"""Table and figure of a run of benchmarks.reproduce_arithmetic, from what it recorded."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl

from star_engine.adapters.probe import installed_versions
from star_engine.evaluation.accuracy import EvaluatedAnswer, summarise
from star_engine.evaluation.intervals import accuracy_interval, difference_interval, sign_test
from star_engine.phases.build import own_rows

TITLES = {
    "star": "STaR",
    "star-without-rationalization": "STaR without rationalization",
    "direct-fine-tune": "direct fine-tuning",
}
STAR, WITHOUT, DIRECT = TITLES
Facts = Mapping[str, Any]


@dataclass(frozen=True)
class Point:
    """One model, asked the held-out questions."""

    name: str
    right: Mapping[str, bool]  # by question
    accuracy: Facts  # overall and per digit count
    rows: int | None = None  # trained on
    steps: int | None = None

    @property
    def groups(self) -> Mapping[str, float]:
        return {name: one["correct"] / one["n"] for name, one in sorted(self.accuracy["groups"].items())}

    @property
    def overall(self) -> Facts:
        return dict(self.accuracy["overall"])


def write_report(home: Path, out: Path, *, command: str, notes: str) -> None:
    """Write out/arithmetic-smollm2.md and .svg. An arm that was not run yet is left out."""
    few_shot = _few_shot(home)
    curves = {arm: _iterations(home, arm) for arm in (STAR, WITHOUT)}
    direct = _direct(home)
    points = [*few_shot, *direct, *curves[STAR], *curves[WITHOUT]]
    sections = [
        "# Addition with SmolLM2-135M-Instruct, from its few-shot start",
        notes,
        f"```sh\n{command}\n```",
        _machine(home),
        "![Held-out accuracy per digit count and iteration](arithmetic-smollm2.svg)",
        "## Held-out accuracy\n\n" + _table(map(_accuracy_row, points)),
        "## Held against each other\n\nThe same held-out questions, paired: 95 % interval, exact "
        "sign test.\n\n" + _table(_comparisons(few_shot, direct, curves)),
        "## Training sets\n\n" + _table(_training_sets(home)),
        "## Seconds\n\n" + _table(_seconds(home)),
    ]
    out.mkdir(parents=True, exist_ok=True)
    (out / "arithmetic-smollm2.md").write_text("\n\n".join(sections) + "\n", encoding="utf-8")
    draw(few_shot[-1], direct, curves, out / "arithmetic-smollm2.svg")


def draw(start: Point, direct: Sequence[Point], curves: Mapping[str, Sequence[Point]], path: Path) -> None:
    """Held-out accuracy over the iterations, per digit count and over all; iteration 0 is few-shot."""
    mpl.use("svg")
    import matplotlib.pyplot as plt

    mpl.rcParams["svg.hashsalt"] = "star"  # the same data draw the same file
    figure, axes = plt.subplots(1, 3, figsize=(11, 3.4), sharey=True, layout="constrained")
    for axis, (arm, points) in zip(axes, curves.items(), strict=False):
        line = [start, *points]
        for group in start.groups:
            label = f"{group} digit{'s' * (group != '1')}"
            axis.plot([100 * point.groups[group] for point in line], marker="o", label=label)
        axis.set(title=TITLES[arm])
    for arm, points in curves.items():
        axes[2].plot([100 * _share(point) for point in (start, *points)], marker="o", label=TITLES[arm])
    for point in direct:
        axes[2].axhline(100 * _share(point), color="gray", linestyle="--", label=point.name)
    axes[2].set(title="all digit counts")
    longest = max(len(points) for points in curves.values())
    for axis in axes:
        axis.set(xlabel="iteration", xticks=range(longest + 1), ylim=(-3, 103))
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("held-out accuracy, %")
    axes[0].legend()
    axes[2].legend()
    figure.savefig(path, metadata={"Date": None})


def _few_shot(home: Path) -> list[Point]:
    paths = sorted((home / "few-shot" / "baselines").glob("*.jsonl"), reverse=True)  # direct before CoT
    return [_point(f"base model, {path.stem.replace('_', ' ')}", path) for path in paths]


def _direct(home: Path) -> list[Point]:
    path = home / DIRECT / "iteration-1" / "evaluation.jsonl"
    found = [line for line in _lines(home / DIRECT / "history.jsonl") if line["phase"] == "evaluate"]
    return [_point(TITLES[DIRECT], path, line["rows"], line["steps"]) for line in found]


def _iterations(home: Path, arm: str) -> list[Point]:
    return [
        _point(
            f"{TITLES[arm]}, iteration {number}",
            home / arm / f"iteration-{number}" / "evaluation.jsonl",
            own_rows(phases["build"]["kept"]),
            phases["train"]["training"]["steps"],
        )
        for number, phases in _phases(home, arm).items()
        if "evaluate" in phases
    ]


def _point(name: str, path: Path, rows: int | None = None, steps: int | None = None) -> Point:
    """The accuracy of the answers in a file."""
    found = summarise(EvaluatedAnswer(**line) for line in _lines(path))
    return Point(name, _right(path), asdict(found), rows, steps)


def _phases(home: Path, arm: str) -> dict[int, dict[str, Facts]]:
    """What each phase of each iteration recorded."""
    found: dict[int, dict[str, Facts]] = {}
    for line in _lines(home / arm / "history.jsonl"):
        found.setdefault(line["iteration"], {})[line["phase"]] = line
    return found


def _accuracy_row(point: Point) -> Facts:
    overall = point.overall
    interval = accuracy_interval(overall["correct"], overall["n"])
    shares = {f"{group} digit{'s' * (group != '1')}": f"{s:.0%}" for group, s in point.groups.items()}
    return {
        "model": point.name,
        "rows": point.rows or "",
        "steps": point.steps or "",
        **shares,
        "all": f"{_share(point):.1%}",
        "95 %": f"{interval.low:.0%} to {interval.high:.0%}",
        "unparsed or cut off": overall["unparsed"] + overall["truncated"],
    }


def _comparisons(
    few_shot: Sequence[Point], direct: Sequence[Point], curves: Mapping[str, Sequence[Point]]
) -> Iterator[Facts]:
    """The last iteration of STaR against everything else; against its ablation at equal iterations."""
    if not curves[STAR]:
        return
    pairs = [(curves[STAR][-1], other) for other in (*few_shot, *direct)]
    pairs += zip(curves[STAR], curves[WITHOUT], strict=False)
    for one, other in pairs:
        gained = sum(one.right[key] and not other.right[key] for key in one.right)
        lost = sum(other.right[key] and not one.right[key] for key in one.right)
        interval = difference_interval(gained, lost, len(one.right))
        yield {
            "model": one.name,
            "against": other.name,
            "difference": f"{(gained - lost) / len(one.right):+.1%}",
            "95 %": f"{interval.low:+.0%} to {interval.high:+.0%}",
            "p": f"{sign_test(gained, lost):.2g}",
        }


def _training_sets(home: Path) -> Iterator[Facts]:
    for arm in (STAR, WITHOUT):
        for number, phases in _phases(home, arm).items():
            if "train" not in phases:
                continue
            kept = [row["route"] for row in _lines(home / arm / f"iteration-{number}" / "training_set.jsonl")]
            yield {
                "arm": TITLES[arm],
                "iteration": number,
                "solve rate": f"{phases['sample']['solve_rate']:.1%}",
                "generated kept": kept.count("generated"),
                "rationalized kept": kept.count("rationalized"),
                "of all train questions": f"{phases['build']['coverage']['total']:.1%}",
                "last loss": f"{phases['train']['training']['loss_last']:.3f}",
                "sha256": f"`{phases['build']['training_set_sha256'][:16]}`",
            }


def _seconds(home: Path) -> Iterator[Facts]:
    for arm in ("few-shot", DIRECT, STAR, WITHOUT):
        spent: dict[int, dict[str, float]] = {}
        for line in _lines(home / arm / "seconds.jsonl"):
            spent.setdefault(line["iteration"], {})[line["phase"]] = line["seconds"]
        for number, phases in spent.items():
            told = ", ".join(f"{name.replace('_', ' ')} {seconds:.0f}" for name, seconds in phases.items())
            yield {"arm": TITLES.get(arm, arm), "iteration": number, "seconds": told}


def _machine(home: Path) -> str:
    spent = [line["seconds"] for path in home.glob("*/seconds.jsonl") for line in _lines(path)]
    versions = ", ".join(f"{name} {version}" for name, version in installed_versions().items())
    hours = f"{sum(spent) / 3600:.1f} hours in all, on one thread"
    return (
        f"- {hours} of {os.cpu_count()} cores ({platform.machine()}) that were busy with other work as well\n"
        f"- Python {platform.python_version()}, {versions}"
    )


def _share(point: Point) -> float:
    return float(point.overall["correct"] / point.overall["n"])


def _right(path: Path) -> dict[str, bool]:
    return {line["example_id"]: line["verdict"] == "correct" for line in _lines(path)}


def _lines(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _table(rows: Iterator[Facts]) -> str:
    lines: list[str] = []
    for row in rows:
        if not lines:
            lines += [" | ".join(row), " | ".join("---" for _ in row)]
        lines.append(" | ".join(map(str, row.values())))
    return "\n".join(f"| {line} |" for line in lines)
