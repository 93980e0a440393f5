"""`make plot`: the demo's job with and without rationalization: two reports and a figure like Figure 4.

python -m examples.addition.plot [--home .star/plot] [--out docs/runs]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from rich.console import Console

from examples.addition.demo import platform, run_job
from examples.platform import ROOT
from examples.report import write_report
from star_client.client import StarClient
from star_client.objects import Iteration

NOTES = {
    True: "The demo's job: addition of 1 to 4 digits, from a base model that forgets the carry.",
    False: "The same job with rationalization switched off: failures are not tried again with a hint.",
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--home", type=Path, default=ROOT / ".star" / "plot")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "runs")
    arguments = parser.parse_args()
    console = Console()
    curves = {}
    with (
        platform(arguments.home) as url,
        StarClient(url, (arguments.home / "api-key").read_text().strip()) as star,
    ):
        for rationalization in (True, False):
            job = run_job(star, console, arguments.home, rationalization=rationalization)
            if job.status != "succeeded":
                sys.exit(f"{job.id} is {job.status}: {job.status_reason}")
            curves[rationalization] = star.jobs.iterations(job.id)
            name = "addition" if rationalization else "addition-without-rationalization"
            title = name.replace("-", " ").capitalize()
            notes = NOTES[rationalization]
            write_report(
                star, job, arguments.out / f"{name}.md", title=title, command="make plot", notes=notes
            )
    draw(curves[True], curves[False], arguments.out / "addition.svg")
    console.print(f"Figure and reports written to {arguments.out}")


def draw(with_hints: Sequence[Iteration], without: Sequence[Iteration], path: Path) -> None:
    """Held-out accuracy per digit count over the iterations; iteration 0 is the few-shot base model."""
    mpl.use("svg")
    import matplotlib.pyplot as plt

    mpl.rcParams["svg.hashsalt"] = "star"  # the same data draw the same file
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.4), sharey=True, layout="constrained")
    titles = ("with rationalization", "without rationalization")
    for axis, title, iterations in zip(axes, titles, (with_hints, without), strict=True):
        for group in sorted(iterations[0].metrics.baselines["few_shot_cot"]["by_group"]):
            label = f"{group} digit{'s' * (group != '1')}"
            axis.plot(range(len(iterations)), _curve(iterations, group), marker="o", label=label)
        axis.set(title=title, xlabel="iteration", xticks=range(len(iterations)), ylim=(-3, 103))
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("held-out accuracy, %")
    axes[1].legend(loc="center right")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})


def _curve(iterations: Sequence[Iteration], group: str) -> list[float]:
    base = iterations[0].metrics.baselines["few_shot_cot"]["by_group"][group]
    return [100 * base] + [100 * one.metrics.accuracy_by_group.get(group, 0.0) for one in iterations[1:]]


if __name__ == "__main__":
    main()
