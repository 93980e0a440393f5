"""The page of benchmarks/levers.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.measuring import median_and_range, notes_beside, significant, table

HEAD = """\
# What each lever of generation gives

```sh
{command}
```

SmolLM2-135M-Instruct on vLLM's CPU build, float32. Each row has two engines side by side, in processes of
their own, that take turns on one load: {load}.
`gain` is the median of without / with, round by round: above 1 the lever pays. Texts are compared between the
two; where they differ, rounding decided between two tokens that are almost equally likely.
"""


def write_report(found: Sequence[Mapping[str, Any]], out: Path) -> None:
    """Write the page of these measurements."""
    if not found:
        raise SystemExit("Nothing has been measured yet.")
    train, held_out = found[0]["load"]
    load = f"{train} questions, and {held_out} held out in the two rows about calls"
    rounds = min(len(one["seconds"]["with"]) for one in found)
    command = f"python -m benchmarks.levers --train {train} --held-out {held_out} --rounds {rounds}"
    rows = [_row(one) for one in found]
    head = (
        "lever",
        "with / without",
        "with",
        "without",
        "gain",
        "start, with",
        "start, without",
        "same texts",
    )
    machine = [f"- {line}" for line in found[-1]["machine"]]
    lines = [HEAD.format(command=command, load=load), table(head, rows), "", *machine, "", notes_beside(out)]
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text("\n".join(lines) + "\n")


def _row(one: Mapping[str, Any]) -> list[str]:
    seconds, started = one["seconds"], one["started"]
    gains = [without / with_it for with_it, without in zip(seconds["with"], seconds["without"], strict=True)]
    return [
        one["name"],
        one["said"],
        median_and_range(seconds["with"], "s"),
        median_and_range(seconds["without"], "s"),
        significant(median(gains)),
        f"{started['with']:.1f} s",
        f"{started['without']:.1f} s",
        f"{one['texts']['same']} of {one['texts']['of']}",
    ]
