"""`python -m benchmarks.gpu_check`, which waits for a GPU: its checks run, fail and are reported on a CPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.gpu_check import __main__ as gpu_check
from benchmarks.gpu_check import engine, service
from benchmarks.gpu_check.workbench import Skipped, Workbench
from star_engine.gpu.training.lora_trainer import LoraTrainer
from star_engine.gpu.transformers_sampler import TransformersSampler
from tests.databases import PROJECT

FAST = ("precision", "resume")
ONE_CORE = {**os.environ, "OMP_NUM_THREADS": "1"}  # more would wait for each other on a busy machine
CUDA = ("out_of_memory", "neighbour")
SLOW = tuple(
    check.name for check in gpu_check.CHECKS if check.plan == "a" and check.name not in (*FAST, *CUDA)
)
WITH_VLLM = tuple(check.name for check in gpu_check.CHECKS if check.plan == "b")


def run(out: Path, *names: str, plan: str = "a") -> tuple[int, dict[str, Any]]:
    """Exit status, and the lines by the names of their checks."""
    command = [sys.executable, "-m", "benchmarks.gpu_check", "--device", "cpu", "--tiny", "--out", str(out)]
    command += ["--plan", plan]
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


class Deaf(TransformersSampler):
    """Serves the base model, whatever adapter it is given."""

    def use(self, adapter: Path | None) -> None:
        super().use(None)


def test_checks_of_a_sampler_pass_for_one_that_is_right_and_fail_for_one_that_is_not(tmp_path: Path) -> None:
    """Those that need nothing of vLLM's own, with the other sampler."""
    bench = Workbench("cpu", True, tmp_path)
    bench.engine = TransformersSampler(bench.saved("0.5B"), max_length=512)
    for work in (engine.left_early, engine.seeds, engine.log_probabilities):
        work(bench)
    assert bench.facts["adapter_moves_nats"] > 0.01 > max(bench.facts["apart_nats"].values())
    bench.engine = Deaf(bench.saved("0.5B"), max_length=512)
    with pytest.raises(AssertionError, match="nats a token of PEFT"):
        engine.log_probabilities(bench)


def test_iterations_pass_where_the_adapter_is_served_and_fail_where_it_is_not(tmp_path: Path) -> None:
    bench = Workbench("cpu", True, tmp_path)
    base = bench.saved("0.5B")

    def both(sampler: TransformersSampler) -> Any:
        trainer = LoraTrainer(base, device="cpu")
        trains = {"train": trainer.train, "score_trained": trainer.score_trained}
        return SimpleNamespace(use=sampler.use, stream=sampler.stream, score=sampler.score, **trains)

    service.iterate(bench, both(TransformersSampler(base, max_length=512)))
    assert len(bench.facts["iterations"]) == 3
    with pytest.raises(AssertionError, match="nats a token of PEFT"):
        service.iterate(bench, both(Deaf(base, max_length=512)))


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_the_checks_with_vllm_pass_with_tiny_models_on_a_cpu(tmp_path: Path) -> None:
    status, lines = run(tmp_path / "lines", *WITH_VLLM, plan="b")
    assert (status, {name: line for name, line in lines.items() if line["ok"] is not True}) == (0, {})
    assert lines["vllm_start"]["facts"]["engine"] == "SyncMPClient"
    assert "LoRA rank 256 is greater" in lines["adapters"]["facts"]["rank_refused"]
    assert lines["deaths"]["facts"]["engine_said"].startswith("GpuFailed")
    assert "killed by SIGKILL" in lines["deaths"]["facts"]["gpu_process_said"]
    assert (
        lines["race"]["facts"]["tries"] > 24
    )  # questions; those answered wrong are asked again with the hint


def test_the_network_is_out_of_reach_where_it_must_not_be_asked() -> None:
    script = (
        "import socket\n"
        "from benchmarks.gpu_check import engine\n"
        "engine.no_network()\n"
        "server = socket.create_server(('127.0.0.1', 0))\n"
        "socket.create_connection(server.getsockname()).close()\n"
        "socket.create_connection(('192.0.2.1', 443), timeout=1)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=PROJECT, capture_output=True, text=True)
    assert done.stderr.rstrip().endswith("OSError: no network: 192.0.2.1 was asked for")


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
