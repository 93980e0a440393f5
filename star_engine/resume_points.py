"""Resume points of a training: `step-N` files or folders in one folder, N the optimizer steps behind each."""

from __future__ import annotations

import shutil
from pathlib import Path


def step_of(path: Path) -> int:
    """The optimizer steps that lie behind a resume point."""
    return int("".join(character for character in path.name if character.isdigit()) or 0)


def resume_points(folder: Path) -> list[Path]:
    """Those in a folder, in the order of their steps; none where there is no such folder."""
    return sorted(folder.glob("step-*"), key=step_of)


def remove_ahead(folder: Path, recorded: int) -> None:
    """Remove the resume points behind steps whose curve is not on record, so that these are done again.

    A trainer saves a step before it tells of it: where it was killed between the two, to resume there would
    leave a gap in the curve. `recorded`: the steps on record.
    """
    for path in resume_points(folder):
        if step_of(path) > recorded:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
