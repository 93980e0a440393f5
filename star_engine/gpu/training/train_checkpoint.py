"""Resume points of a training run: complete and unharmed, or not there. And what one leaves to the next.

step-00000050/state.safetensors   weight.NAME, exp_avg.NAME and exp_avg_sq.NAME of each LoRA matrix
             /manifest.json       optimizer steps done, tokens seen, sha256 of the state, hash of the input
optimizer.safetensors             exp_avg.NAME and exp_avg_sq.NAME at the end of a training, and `steps`: how
                                  many the optimizer has taken, in this training and those before it
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from star_engine.adapters.layout import file_sha256, write_durably
from star_engine.protocols import BadAdapter

STATE = "state.safetensors"
MANIFEST = "manifest.json"
KEPT = 2  # the newest, and the one before it should the newest turn out damaged


@dataclass(frozen=True, slots=True)
class ResumePoint:
    step: int  # optimizer steps done
    tokens: int  # tokens seen so far
    state: dict[str, torch.Tensor]


class Checkpoints:
    """A folder of resume points of one run; `input_hash` tells whose they are."""

    def __init__(self, folder: Path, input_hash: str) -> None:
        self._folder = folder
        self._input_hash = input_hash

    def save(self, point: ResumePoint) -> None:
        """Write under a temporary name, manifest last, fsync, rename: a crash leaves no half of one."""
        target = self._folder / f"step-{point.step:08d}"
        temporary = self._folder / f".{target.name}.{os.getpid()}.tmp"
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        save_file(
            {name: tensor.contiguous().cpu() for name, tensor in point.state.items()}, temporary / STATE
        )
        fsync(temporary / STATE)
        manifest = {
            "step": point.step,
            "tokens": point.tokens,
            "input_hash": self._input_hash,
            "sha256": file_sha256(temporary / STATE),
        }
        write_durably(temporary / MANIFEST, json.dumps(manifest))
        fsync(temporary)
        shutil.rmtree(target, ignore_errors=True)  # a damaged one that was skipped
        temporary.rename(target)
        fsync(self._folder)
        for old in self._newest_first()[KEPT:]:
            shutil.rmtree(old, ignore_errors=True)

    def newest(self) -> ResumePoint | None:
        """The newest resume point of this run whose hash is right; damaged and foreign ones are skipped."""
        points = (self._read(folder) for folder in self._newest_first())
        return next((point for point in points if point is not None), None)

    def _newest_first(self) -> list[Path]:
        return sorted(self._folder.glob("step-*"), reverse=True)

    def _read(self, folder: Path) -> ResumePoint | None:
        try:
            manifest: Mapping[str, str | int] = json.loads((folder / MANIFEST).read_text())
            if manifest["input_hash"] != self._input_hash:
                return None
            if manifest["sha256"] != file_sha256(folder / STATE):
                return None
            state = load_file(folder / STATE)
            return ResumePoint(int(manifest["step"]), int(manifest["tokens"]), state)
        except (OSError, ValueError, KeyError, TypeError, SafetensorError):
            return None


def save_moments(path: Path, state: Mapping[str, torch.Tensor], steps: int) -> None:
    """Write what the next training's optimizer goes on with. `steps`: taken so far, in all trainings."""
    moments = {name: tensor.contiguous().cpu() for name, tensor in state.items() if name.startswith("exp_")}
    save_file({**moments, "steps": torch.tensor(steps)}, path)


def load_moments(path: Path) -> tuple[dict[str, torch.Tensor], int]:
    """Read what `save_moments` wrote. Raises BadAdapter for a file that it cannot have written."""
    try:
        state = load_file(path)
        return state, int(state.pop("steps"))
    except (OSError, ValueError, KeyError, SafetensorError) as problem:
        raise BadAdapter(f"The optimizer state {path.name} cannot be read: {problem!r}") from problem


def fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
