"""What each lever of generation gives: with it, as the service runs, against without it, on one load.

    python -m examples.smollm2.convert
    python -m benchmarks.levers                # all; --only "prefix cache" for one
    python -m benchmarks.levers --report-only  # the page of what was measured so far

Each lever has two engines side by side, each in a process of its own, that take turns on one load: generation
that rationalizes what fails at once, behind a few-shot prefix per digit count. The questions are those of
benchmarks/sums.py. What was measured is kept in .star/levers, one file a lever.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.levers_report import write_report
from benchmarks.measuring import interleaved, machine
from benchmarks.sums import make_task
from examples.smollm2.convert import MODEL_FOLDER

if TYPE_CHECKING:  # importing it takes torch, which only the engines need
    from multiprocessing.connection import Connection

HOME = Path(".star/levers")
MERGED, BESIDE = {"adapter": "merged"}, {"adapter": "beside"}
LORA = {"enable_lora": True, "max_lora_rank": 16, "max_loras": 1}


@dataclass(frozen=True)
class Lever:
    """Two setups (benchmarks/levers_engine.py): as the service runs, and without the lever."""

    name: str
    with_it: dict[str, Any]
    without: dict[str, Any]
    said: str  # with it / without


LEVERS = (
    Lever("prefix cache", {}, {"engine": {"enable_prefix_caching": False}}, "on / off"),
    Lever("small blocks", {}, {"engine": {"block_size": 128}}, "32 tokens / 128, vLLM's choice on CPU"),
    Lever("merged adapter", MERGED, BESIDE | {"engine": LORA}, "merged in float32 / LoRARequest"),
    Lever(
        "one call",
        {"calls": "pipelined"},
        {"calls": "serial"},
        "one / generation, rationalization, evaluation",
    ),
    Lever("shared calls", {"calls": "pipelined"}, {"calls": "sharded"}, "one / two shards, evaluation"),
    Lever("64 at once", {}, {"engine": {"max_num_seqs": 16}}, "64 sequences / 16"),
    Lever("not 256 at once", {}, {"engine": {"max_num_seqs": 256}}, "64 sequences / 256"),
    Lever("eager", {}, {"engine": {"enforce_eager": False}}, "eager / compiled"),
    Lever("short context", {"max_length": 768}, {"max_length": 8192}, "max_model_len 768 / 8,192"),
    Lever("no logprobs", {}, {"logprobs": 1}, "none / of the chosen token"),
    Lever("no stop strings", {"stop_strings": False}, {}, "end-of-sequence tokens only / nine strings"),
    Lever(
        "hints first",
        {"hints_first": True, "engine": {"scheduling_policy": "priority"}},
        {},
        "hinted requests first / first come, first served",
    ),
)


def serve(pipe: Connection, model: Path, load: tuple[int, int], setup: dict[str, Any]) -> None:
    """The process of one engine: a turn for every name of calls that it is sent, an end for the empty one."""
    from benchmarks.levers_engine import ChangedSampler, Setup, turn

    train, held_out = load
    task = make_task((1, 2, 3), 5, train // 3, held_out // 3)
    began = time.monotonic()
    sampler = ChangedSampler(model, Setup(**setup))
    pipe.send(time.monotonic() - began)
    while calls := pipe.recv():
        done = turn(sampler, calls, task)
        pipe.send((done.seconds, done.tokens, done.texts))
    sampler.close()


@dataclass
class Engine:
    """The other end of the pipe. `started`: seconds."""

    pipe: Connection
    started: float

    def turn(self, calls: str) -> tuple[float, int, dict[str, str]]:
        self.pipe.send(calls)
        seconds, tokens, texts = self.pipe.recv()
        return seconds, tokens, texts


@contextmanager
def engine(model: Path, load: tuple[int, int], setup: dict[str, Any]) -> Iterator[Engine]:
    context = get_context("spawn")
    pipe, other = context.Pipe()
    process = context.Process(target=serve, args=(other, model, load, setup))
    process.start()
    other.close()
    try:
        yield Engine(pipe, pipe.recv())
    finally:
        pipe.send("")
        process.join()


def measure(lever: Lever, engines: Mapping[str, Engine], rounds: int) -> dict[str, Any]:
    """Seconds and tokens of both, and how many texts are the same."""
    calls = {"with": lever.with_it.get("calls", "sample"), "without": lever.without.get("calls", "sample")}
    tokens: dict[str, int] = {}
    texts: dict[str, dict[str, str]] = {}

    def turn(name: str) -> float:
        seconds, tokens[name], texts[name] = engines[name].turn(calls[name])
        print(f"{lever.name}, {name}: {seconds:.2f} s, {tokens[name]} tokens", flush=True)
        return seconds

    seconds = interleaved({name: partial(turn, name) for name in calls}, rounds)
    same = sum(texts["with"].get(name) == text for name, text in texts["without"].items())
    return {
        "name": lever.name,
        "said": lever.said,
        "started": {name: one.started for name, one in engines.items()},
        "seconds": seconds,
        "tokens": tokens,
        "texts": {"same": same, "of": len(texts["without"])},
        "machine": machine(),
    }


def run(levers: Sequence[Lever], model: Path, load: tuple[int, int], rounds: int) -> None:
    """The engine as the service has it stays over all levers."""
    with ExitStack() as always:
        service = always.enter_context(engine(model, load, {}))
        for lever in levers:
            with ExitStack() as stack:
                engines = {}
                for name, setup in (("with", lever.with_it), ("without", lever.without)):
                    changed = {key: value for key, value in setup.items() if key != "calls"}
                    engines[name] = stack.enter_context(engine(model, load, changed)) if changed else service
                found = measure(lever, engines, rounds)
            measured(lever).write_text(json.dumps({**found, "load": load}))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", action="append", choices=[lever.name for lever in LEVERS])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--train", type=int, default=96, help="questions to sample")
    parser.add_argument("--held-out", type=int, default=48)
    parser.add_argument("--model", type=Path, default=MODEL_FOLDER)
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks/levers.md"))
    parser.add_argument("--report-only", action="store_true")
    arguments = parser.parse_args()
    HOME.mkdir(parents=True, exist_ok=True)
    if not arguments.report_only:
        wanted = [one for one in LEVERS if one.name in (arguments.only or [one.name])]
        run(wanted, arguments.model, (arguments.train, arguments.held_out), arguments.rounds)
    pages = [json.loads(path.read_text()) for lever in LEVERS if (path := measured(lever)).exists()]
    write_report(pages, arguments.out)


def measured(lever: Lever) -> Path:
    return HOME / f"{lever.name.replace(' ', '-')}.json"


if __name__ == "__main__":
    main()
