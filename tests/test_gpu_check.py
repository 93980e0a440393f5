"""`python -m benchmarks.gpu_check`, which waits for a GPU: its checks run, fail and are reported on a CPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from benchmarks.gpu_check import __main__ as gpu_check
from benchmarks.gpu_check.workbench import Skipped, Workbench
from tests.databases import PROJECT

FAST = ("precision", "resume")
ONE_CORE = {**os.environ, "OMP_NUM_THREADS": "1"}  # more would wait for each other on a busy machine
CUDA = ("out_of_memory", "neighbour")
SLOW = tuple(check.name for check in gpu_check.CHECKS if check.name not in (*FAST, *CUDA))


def run(out: Path, *names: str) -> tuple[int, dict[str, Any]]:
    """Exit status, and the lines by the names of their checks."""
    command = [sys.executable, "-m", "benchmarks.gpu_check", "--device", "cpu", "--tiny", "--out", str(out)]
    command += [word for name in names for word in ("--only", name)]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False, env=ONE_CORE)
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert {line["check"] for line in lines} == {*names}, done.stderr
    return done.returncode, {line["check"]: line for line in lines}


def test_the_checks_pass_with_tiny_models_on_a_cpu(tmp_path: Path) -> None:
    status, lines = run(tmp_path / "lines", *FAST)
    assert (status, {name: line for name, line in lines.items() if line["ok"] is not True}) == (0, {})
    assert lines["precision"]["facts"]["cosine"] >= 0.99


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_the_other_checks_pass_as_well_and_two_need_cuda(tmp_path: Path) -> None:
    status, lines = run(tmp_path / "lines", *SLOW, *CUDA)
    assert (status, {name for name in lines if lines[name]["ok"] is False}) == (0, set())
    assert {name for name in lines if lines[name]["ok"] is None} == {*CUDA}


def check(bench: Workbench, work: Any, ends: float = 1e12) -> dict[str, Any]:
    return gpu_check._line(gpu_check.Check("one", "small", 1, work), bench, ends)


def test_a_check_that_fails_says_its_limit_and_what_it_measured(tmp_path: Path) -> None:
    def slow(bench: Workbench) -> None:
        bench.facts["tokens_s"] = 7
        bench.require(bench.facts["tokens_s"] >= 8, "8 tokens/s or more")

    line = check(Workbench("cpu", True, tmp_path), slow)
    assert (line["ok"], line["limit"], line["facts"]) == (False, "8 tokens/s or more", {"tokens_s": 7})


def test_errors_and_skipped_checks_are_told_apart(tmp_path: Path) -> None:
    def breaks(_: Workbench) -> None:
        raise RuntimeError("CUDA error: unspecified launch failure")

    def skips(_: Workbench) -> None:
        raise Skipped("trl is not installed")

    bench = Workbench("cpu", True, tmp_path)
    assert check(bench, breaks)["ok"] is False
    assert "unspecified launch failure" in check(bench, breaks)["error"]
    assert check(bench, skips)["ok"] is None


def test_a_check_that_would_end_too_late_is_not_begun(tmp_path: Path) -> None:
    begun: list[Workbench] = []
    bench = Workbench("cpu", False, tmp_path)
    assert check(bench, begun.append, ends=time.time())["ok"] is None
    assert begun == []


def test_a_group_whose_process_dies_has_failed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    monkeypatch.setattr(sys, "argv", ["gpu_check", "--device", "cpu", "--tiny", "--only", "facts"])
    assert gpu_check.main() == 1
    assert "its process ended with 1" in capsys.readouterr().out
