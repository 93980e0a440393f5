"""How many programs are executed a second, and what a tool costs a job that samples.

    python -m benchmarks.sandbox [--rounds 5] [--texts 192] [--hidden 256] [--programs 60]

writes docs/benchmarks/sandbox.md. The model has random weights and as many parameters as it says; its texts
are written beforehand: each forward pass is run, and its token is then replaced. So each run generates the
same tokens, and what differs is how the tool answers. All runs take turns.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from benchmarks.measuring import interleaved, machine, median_and_range, notes_beside, table
from star_engine.config.star import StarConfig
from star_engine.gpu.sampling_batch import Row
from star_engine.gpu.transformers_sampler import TransformersSampler
from star_engine.protocols import Completion, SampleRequest, SamplingParams
from star_engine.sampling.rationales import plan_tries
from star_engine.sampling.shared_calls import share_call
from star_engine.tasks.examples import Example, FewShotExample, PromptSet
from star_engine.tasks.kind import Kind
from star_engine.tasks.programs.execution import (
    CodeRunner,
    Execution,
    Limits,
    Program,
    Run,
    Status,
    using_runner,
)
from tests.databases import PROJECT
from tests.star_engine.gpu.tokenizers import word_tokenizer
from worker.sandbox.local import LocalRunner
from worker.sandbox.monty import MontyRunner

PAGE = PROJECT / "docs" / "benchmarks" / "sandbox.md"
GOALS = {"embedded": 200.0, "cpython": 20.0}  # executions a second on two cores
GOAL_KEPT = 0.85
CORES = 2
THOUGHT = "First I look at what is given, and then at what is asked for. It looks tedious, so I compute it."
SHOWN = (FewShotExample("How many are 3 times 4?", "They are 12.\n#### 12", "12"),)


class AtOnce:
    """The tool that costs nothing: it answers what it is asked without executing anything."""

    def run(self, programs: Sequence[Program], owner: str = "") -> Iterator[Execution]:
        for program in programs:
            a, b = program.code.removeprefix("print(").rstrip(")\n").split(" * ")
            yield Execution(Status.OK, (Run(Status.OK, f"{int(a) * int(b)}\n", ""),))


class Dictated(TransformersSampler):
    """Computes as a sampler does, and writes what it is told."""

    def __init__(self, folder: Path, **options: Any) -> None:
        super().__init__(folder, **options)
        self._told: dict[Row, list[int]] = {}

    def row(self, request: SampleRequest, ids: list[int], params: SamplingParams) -> Row:
        made = super().row(request, ids, params)
        told: list[int] = self._tokenizer(dictated(request.prompt)).input_ids
        self._told[made] = [*told, self._tokenizer.eos_token_id]
        return made

    def finished(self, row: Row) -> Completion | None:
        told = self._told[row]
        row.generated[-1] = told[len(row.generated) - 1]
        found = super().finished(row)
        if found is not None:
            del self._told[row]
        return found


def dictated(prompt: str) -> str:
    said = prompt.rpartition("\nA:")[2]
    if "```output\n" in said:
        answer = said.rpartition("```output\n")[2].partition("\n")[0]
        return f"So it is {answer}.\n#### {answer}"
    a, b = prompt.rpartition("How many are ")[2].partition("?")[0].split(" times ")
    return f" {THOUGHT}\n```python\nprint({a} * {b})\n```\n"


def tokens_per_second(sampler: Dictated, config: StarConfig, texts: int, runner: CodeRunner) -> float:
    """Of a plan of so many texts, each with one call."""
    asked = [
        Example(f"e{n}", f"How many are {100 + n} times {300 + n}?", str((100 + n) * (300 + n)))
        for n in range(texts)
    ]
    plan = plan_tries(config, PromptSet(Kind.NUMERIC, SHOWN), asked, 1, {})
    made = 0
    began = time.perf_counter()
    with using_runner(runner):
        for _, found in share_call(sampler, [plan], side_by_side=True):
            if found is not None:
                assert found.verdict == "correct", found
                made += found.tokens
    return made / (time.perf_counter() - began)


def executions_per_second(runner: CodeRunner, programs: int, cpu: list[float]) -> float:
    """Of short programs with a result of their own each. cpu: where their mean CPU time goes, in ms."""
    asked = [Program(f"print(sum(range({n})) * 17)", ("",), limits=Limits()) for n in range(programs)]
    began = time.perf_counter()
    found = list(runner.run(asked))
    seconds = time.perf_counter() - began
    assert all(one.status is Status.OK for one in found)
    cpu.append(max(1, sum(one.cpu_ms for one in found)) / programs)  # each is told in whole milliseconds
    return programs / seconds


def make_model(folder: Path, hidden: int) -> int:
    """A Llama with random weights and a byte-level tokenizer; its number of parameters."""
    tokenizer = word_tokenizer()
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        intermediate_size=4 * hidden,
        num_hidden_layers=6,
        num_attention_heads=8,
        max_position_embeddings=1024,
        eos_token_id=tokenizer.eos_token_id,
    )
    model = LlamaForCausalLM(config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return int(model.num_parameters())


def measure(rounds: int, texts: int, hidden: int, programs: int) -> str:
    config = StarConfig.model_validate(
        {
            "kind": "numeric",
            "rationalization": {"enabled": False},
            "tools": {"python": {}},
            "generation": {"max_tokens": 400},
        }
    )
    cpu: dict[str, list[float]] = {name: [] for name in GOALS}
    with (
        TemporaryDirectory() as folder,
        closing(MontyRunner(CORES)) as monty,
        closing(LocalRunner(CORES)) as local,
    ):
        parameters = make_model(Path(folder), hidden)
        sampler = Dictated(Path(folder), batch_size=64, threads=1)
        kept = partial(tokens_per_second, sampler, config, texts)
        runs = {
            "at once": partial(kept, AtOnce()),
            "embedded": partial(kept, monty),
            "cpython": partial(kept, local),
            "executions embedded": partial(executions_per_second, monty, 20 * programs, cpu["embedded"]),
            "executions cpython": partial(executions_per_second, local, programs, cpu["cpython"]),
        }
        for run in runs.values():
            run()  # interpreters, launchers and caches are there
        found = interleaved(runs, rounds)
    return report(found, cpu, parameters, texts)


def report(found: dict[str, list[float]], cpu: dict[str, list[float]], parameters: int, texts: int) -> str:
    done = []
    for name, goal in GOALS.items():
        rates = found[f"executions {name}"]
        reached = "reached" if median(rates) >= goal else f"missed: below {goal:g}"
        cost = median_and_range(cpu[name], "ms") if median(cpu[name]) >= 0.1 else "below 0.1 ms"
        done.append([name, median_and_range(rates), cost, reached])
    sampled = []
    for name in ("at once", "embedded", "cpython"):
        shares = [one / other for one, other in zip(found[name], found["at once"], strict=True)]
        reached = "reached" if median(shares) >= GOAL_KEPT else f"missed: below {GOAL_KEPT}"
        what = ["", ""] if name == "at once" else [median_and_range(shares), reached]
        sampled.append([name, median_and_range(found[name]), *what])
    said = (
        f"A plan of {texts} texts, each with one call, sampled by the CPU sampler "
        f"({parameters / 1e6:.1f} M parameters, one thread, 64 rows at once) as a worker does it, programs "
        "beside it on the same cores. `kept`: tokens a second, of those of the run in the same round whose "
        "tool answers at once."
    )
    asked = f"{CORES} programs at once. `CPU of one`: of an execution, with the process that it starts."
    head = ["runtime", "executions a second", "CPU of one", "goal"]
    shown = [asked, table(head, done), said, table(["tool", "tokens a second", "kept", "goal"], sampled)]
    return "\n\n".join(shown)


HEAD = """# Sandbox

```sh
python -m benchmarks.sandbox{options}
```

Executions a second of short programs, and what a tool costs a job that samples: the same texts, token for
token, with a tool that answers at once, with the embedded interpreter and with CPython in the sandbox. All
runs take turns; medians of {rounds} rounds, with their ranges. What the ledger takes is not in it.
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--texts", type=int, default=192)
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--programs", type=int, default=60)
    parser.add_argument("--out", type=Path, default=PAGE)
    given = parser.parse_args()
    before = machine("pydantic-monty", "sandlock")
    said = measure(given.rounds, given.texts, given.hidden, given.programs)
    asked = {name: getattr(given, name) for name in ("rounds", "texts", "hidden", "programs")}
    options = "".join(
        f" --{name} {value}" for name, value in asked.items() if value != parser.get_default(name)
    )
    head = HEAD.format(options=options, rounds=given.rounds)
    lines = [head.rstrip(), "\n".join(before), said, notes_beside(given.out)]
    given.out.write_text("\n\n".join(filter(None, lines)) + "\n")
    print(said)


if __name__ == "__main__":
    main()
