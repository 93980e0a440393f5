"""Whether this project works on a GPU, and how fast: one command for a bare machine, without a network.

    python -m benchmarks.gpu_check [--plan b] [--minutes 9] [--device cuda] [--tiny] [--only NAME] [--out F]

Plan A needs torch, transformers, peft, accelerate and pydantic; no vLLM, no model: weights are random,
architectures published. Plan B needs the worker's environment with vLLM. Each check
prints one line of JSON: {check, ok, seconds, facts, limit, error}; `ok` is null where it was skipped. Each
group of checks is a process of its own: a broken CUDA context costs one group. A check that would end after
the minutes is skipped. Exit status 1 where one failed. `--tiny` runs every check with models of two layers
and without a time limit: it shows that the checks run, and nothing about a GPU.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.gpu_check import engine, large, processes, service, small
from benchmarks.gpu_check.workbench import Skipped, Workbench

if engine.OFFLINE in os.environ:  # also in the processes that vLLM makes of this one
    engine.no_network()

RESERVE_SECONDS = 15.0  # for the end of a run
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - 15 GB are written and read in seconds there


@dataclass(frozen=True)
class Check:
    name: str
    group: str
    seconds: float  # that it takes on an H100, roughly; it is ended after three times as many
    run: Callable[[Workbench], None]
    plan: str = "a"


# By value: what matters most runs first, in case that the time is short.
CHECKS = (
    Check("facts", "machine", 10, small.facts),
    Check("hardware", "machine", 8, small.hardware),
    Check("self_test", "machine", 5, processes.self_test),
    Check("precision", "small", 15, small.precision),
    Check("steps_small", "small", 30, small.steps),
    Check("packed_prefix", "small", 15, large.packed_prefix),
    Check("learn", "small", 25, small.learn),
    Check("adapter", "small", 20, small.adapter),
    Check("sampler", "small", 20, small.sampler),
    Check("resume", "small", 15, small.resume),
    Check("load", "large", 40, large.load),
    Check("steps_large", "large", 45, large.steps),
    Check("levers", "large", 50, large.levers),
    Check("out_of_memory", "large", 20, large.out_of_memory),
    Check("trl", "large", 75, large.against_trl),
    Check("gpu_process", "processes", 30, processes.gpu_process),
    Check("neighbour", "processes", 15, processes.neighbour),
    Check("one_rank", "processes", 20, processes.one_rank),
    Check("sharded", "processes", 30, processes.sharded),
    Check("long_rows", "longest", 25, large.long_rows),
    Check("own_tests", "tests", 60, small.own_tests),
    Check("vllm_start", "engine", 150, engine.start, "b"),
    Check("adapters", "engine", 40, engine.adapters, "b"),
    Check("prefix_cache", "engine", 10, engine.prefix_cache, "b"),
    Check("log_probabilities", "engine", 60, engine.log_probabilities, "b"),
    Check("left_early", "engine", 20, engine.left_early, "b"),
    Check("seeds", "engine", 40, engine.seeds, "b"),
    Check("deaths", "service", 180, service.deaths, "b"),
    Check("iterations", "service", 90, service.iterations, "b"),
    Check("service_cost", "service", 240, service.service_cost, "b"),
    Check("race", "race", 420, service.race, "b"),
)
GROUPS = tuple(dict.fromkeys(check.group for check in CHECKS))


def check_group(group: str, bench: Workbench, only: list[str], ends: float) -> Iterator[dict[str, Any]]:
    """The lines of one group's checks."""
    for check in CHECKS:
        if check.group == group and (not only or check.name in only):
            yield _line(check, bench, ends)


def _line(check: Check, bench: Workbench, ends: float) -> dict[str, Any]:
    bench.facts = {}
    line: dict[str, Any] = {"check": check.name, "ok": None, "seconds": 0.0, "facts": bench.facts}
    if not bench.tiny and time.time() + check.seconds > ends:
        return line | {"error": "skipped: it would end after the time that was given"}
    began = time.perf_counter()
    signal.signal(signal.SIGALRM, _too_long)
    signal.alarm(round(3 * check.seconds) if bench.on_cuda else 600)
    try:
        if bench.on_cuda:
            import torch

            torch.cuda.reset_peak_memory_stats()
        check.run(bench)
        line["ok"] = True
    except Skipped as skipped:
        line["error"] = f"skipped: {skipped}"
    except AssertionError as failed:
        line |= {"ok": False, "limit": str(failed)}
    except Exception as error:  # noqa: BLE001 - a check that breaks must not hide the next ones
        line |= {"ok": False, "error": f"{type(error).__name__}: {error}"[:500]}
        traceback.print_exc()
    finally:
        signal.alarm(0)
    bench.free()
    return line | {"seconds": round(time.perf_counter() - began, 1)}


def _too_long(*_: object) -> None:
    raise TimeoutError("it took three times as long as it should")


def main() -> int:
    arguments = _arguments()
    if arguments.group:
        root = SHARED_MEMORY if SHARED_MEMORY.is_dir() and not arguments.tiny else None
        with TemporaryDirectory(prefix="gpu-check-", dir=root) as folder:
            bench = Workbench(arguments.device, arguments.tiny, Path(folder))
            if arguments.plan == "b":
                engine.no_network()
            for line in check_group(arguments.group, bench, arguments.only, arguments.ends):
                _print(line)
            if bench.engine is not None:
                bench.engine.close()
        return 0
    ends = time.time() + 60 * arguments.minutes - RESERVE_SECONDS
    lines = [
        line
        for group in GROUPS
        if _wanted(group, arguments)
        for line in _in_a_process(group, ends, arguments)
    ]
    failed = [line["check"] for line in lines if line["ok"] is False]
    passed = sum(line["ok"] is True for line in lines)
    _print(
        {"passed": passed, "failed": failed, "skipped": [one["check"] for one in lines if one["ok"] is None]}
    )
    return int(bool(failed))


def _wanted(group: str, arguments: argparse.Namespace) -> bool:
    only = arguments.only
    return any(
        check.group == group and (check.name in only if only else check.plan == arguments.plan)
        for check in CHECKS
    )


def _in_a_process(group: str, ends: float, arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The lines of a group, printed and written as they come; what it left out has failed with it."""
    left = {
        one.name
        for one in CHECKS
        if one.group == group and (not arguments.only or one.name in arguments.only)
    }
    command = [sys.executable, "-m", "benchmarks.gpu_check", "--group", group, "--ends", str(ends)]
    command += [
        "--device",
        arguments.device,
        "--plan",
        arguments.plan,
        *(["--tiny"] if arguments.tiny else []),
    ]
    command += [word for name in arguments.only for word in ("--only", name)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    for text in child.stdout:
        if not text.startswith('{"check"'):
            sys.stderr.write(text)  # what libraries print
            continue
        line = json.loads(text)
        left.discard(line["check"])
        _report(line, arguments.out)
        yield line
    status = child.wait()
    for name in sorted(left):
        line = {
            "check": name,
            "ok": False,
            "seconds": 0.0,
            "facts": {},
            "error": f"its process ended with {status}",
        }
        _report(line, arguments.out)
        yield line


def _report(line: dict[str, Any], out: Path | None) -> None:
    _print(line)
    if out is not None:
        with out.open("a") as file:
            file.write(json.dumps(line) + "\n")


def _print(line: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--plan", choices=("a", "b"), default="a", help="b: with vLLM")
    parser.add_argument("--minutes", type=float, default=9)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true", help="models of two layers, for a dry run")
    parser.add_argument("--only", action="append", default=[], choices=[check.name for check in CHECKS])
    parser.add_argument("--out", type=Path, help="a file to which the lines are added as well")
    parser.add_argument("--group", choices=GROUPS, help=argparse.SUPPRESS)
    parser.add_argument("--ends", type=float, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
