"""What many answers to a question cost: the phase test_time against vLLM itself on the same prompts.

    python -m benchmarks.candidates [--model FOLDER] [--questions 4] [--samples 64] [--rounds 5]

writes docs/benchmarks/candidates.md. The phase asks each question 64 times, with a request and a seed for
each answer, judges the texts and records them: through the worker's GPU process, as a job does, and on an
engine in this process. The bare engine in this process is given the same prompts once, with n = 64; and again
with a seed for each prompt, since vLLM draws row by row for what has one. Scores: the Scorer against
`prompt_logprobs` of the same texts. All take turns, and no thread spins while it waits.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import psutil

from benchmarks.measuring import interleaved, machine, median_and_range, notes_beside, significant, table
from examples.smollm2.convert import MODEL_FOLDER
from star_engine.adapters.layout import BaseModel
from star_engine.config.star import StarConfig
from star_engine.data.prompt_sets import read_prompt_set
from star_engine.evaluation.candidates import (
    CandidatePlan,
    candidate_mode,
    candidate_params,
    own_text,
    plan_candidates,
)
from star_engine.gpu.vllm_sampler import VllmSampler
from star_engine.phases.phase import Ask, Context, Slice
from star_engine.phases.test_time import TEST_TIME, settings_of
from star_engine.protocols import Sampler, ScoreRequest, TextScorer
from star_engine.record import Origin
from star_engine.run_directory import RunDirectory
from star_engine.run_record import Run, RunRecord
from star_engine.sampling.shared_calls import share_call
from star_engine.tasks.examples import Example
from star_engine.tasks.kind import Kind
from tests.databases import PROJECT
from worker.gpu.process import GpuProcess, GpuSpec, child_environment

PAGE = PROJECT / "docs" / "benchmarks" / "candidates.md"
PROMPTS = PROJECT / "examples" / "addition" / "prompt_set.json"
GOAL, MAX_LENGTH = 0.95, 1024
TEXTS = 64  # that are scored at most
WORKER, HERE, BARE, SEEDED = "worker", "here", "bare", "seeded"
SCORER_WORKER, SCORER_HERE, LOGPROBS = "scorer_worker", "scorer_here", "prompt_logprobs"


@dataclass(frozen=True, slots=True)
class OneSampler:
    """The Gpu of a phase that asks the base model alone."""

    asked: Any

    def sampler(self, iteration: int) -> Any:
        return self.asked

    def scorer(self, adapter: Path | None) -> Any:
        return self.asked

    def thoughts(self, *_: Any) -> Any:
        raise NotImplementedError("test_time reads no thoughts")

    def trainer(self) -> Any:
        raise NotImplementedError("test_time trains nothing")


@dataclass
class Bench:
    """What is asked, and what each way of asking has taken of the processor."""

    config: StarConfig
    examples: list[Example]
    here: VllmSampler
    worker: GpuProcess
    texts: list[ScoreRequest] = field(default_factory=list)
    milliseconds: dict[str, list[float]] = field(default_factory=dict)  # of CPU, for a token or a score

    def __post_init__(self) -> None:
        self.prompt_set = read_prompt_set(PROMPTS.read_bytes(), Kind.SCRATCHPAD)
        self.llm: Any = self.here._llm  # noqa: SLF001 - the same engine, asked without us
        self.texts = self._texts()

    def plan(self) -> CandidatePlan:
        test_time = settings_of(self.config)
        return plan_candidates(self.config, test_time, self.prompt_set, self.examples, 0, set())

    def _texts(self) -> list[ScoreRequest]:
        """What the phase would have scored: distinct answers, each behind the prompt that it is of."""
        by_id = {one.id: one for one in self.examples}
        written = {(one.key.example_id, one.text): one for _, one in share_call(self.here, [self.plan()])}
        found = []
        for number, one in enumerate(list(written.values())[:TEXTS]):
            asked, ended = own_text(self.config, self.prompt_set, by_id[one.key.example_id], one, 0)
            found.append(ScoreRequest(str(number), asked, ended))
        return found

    def phase(self, sampler: Sampler) -> int:
        """Tokens of the phase: asked, judged, recorded in a run directory."""
        with tempfile.TemporaryDirectory(prefix="candidates-") as folder:
            directory, origin = RunDirectory(Path(folder)), Origin(BaseModel("base"))
            run = Run(self.config, [], self.examples, self.prompt_set, directory, origin, {}, {})
            part = Slice(0, None, candidate_mode(0))
            record = RunRecord(run, 0, part)
            context = Context(self.config, self.prompt_set, 0, part, record, OneSampler(sampler))
            tokens = 0
            for item in TEST_TIME.run(context):
                if isinstance(item, Ask):
                    for _, one in share_call(sampler, [item.plan]):
                        item.record([one])
                        tokens += one.tokens
        return tokens

    def bare(self, *, seeded: bool) -> int:
        """Tokens of the engine, given each prompt once with n answers."""
        from vllm import SamplingParams

        own, samples = (
            candidate_params(self.config, settings_of(self.config), 0),
            settings_of(self.config).samples,
        )
        prompts = list(dict.fromkeys(one.prompt for one in self.plan().queue))
        settings = [
            SamplingParams(
                n=samples,
                temperature=own.temperature,
                top_p=own.top_p,
                max_tokens=own.max_tokens,
                stop=list(own.stop),
                seed=number if seeded else None,
            )
            for number in range(len(prompts))
        ]
        outputs = self.llm.generate(prompts, settings, use_tqdm=False)
        return sum(len(one.token_ids) for output in outputs for one in output.outputs)

    def score(self, scorer: TextScorer) -> int:
        return len(list(scorer.score(self.texts)))

    def prompt_logprobs(self) -> int:
        """The same texts, by the engine itself."""
        from vllm import SamplingParams

        prompts = [one.text.prompt + one.text.completion for one in self.texts]
        settings = SamplingParams(temperature=0.0, max_tokens=1, prompt_logprobs=0, detokenize=False)
        return len(self.llm.generate(prompts, settings, use_tqdm=False))

    def ways(self) -> dict[str, Callable[[], float]]:
        """Each way of asking: what it does in a second."""
        asked: dict[str, Callable[[], int]] = {
            WORKER: partial(self.phase, self.worker),
            HERE: partial(self.phase, self.here),
            BARE: partial(self.bare, seeded=False),
            SEEDED: partial(self.bare, seeded=True),
            SCORER_WORKER: partial(self.score, self.worker),
            SCORER_HERE: partial(self.score, self.here),
            LOGPROBS: self.prompt_logprobs,
        }
        return {name: partial(self._timed, name, one) for name, one in asked.items()}

    def _timed(self, name: str, ask: Callable[[], int]) -> float:
        cpu, began = self._cpu(), time.perf_counter()
        done = ask()
        seconds = time.perf_counter() - began
        self.milliseconds.setdefault(name, []).append(1000 * (self._cpu() - cpu) / done)
        return done / seconds

    def _cpu(self) -> float:
        child = psutil.Process(self.worker.pid).cpu_times()
        return time.process_time() + child.user + child.system


def additions(count: int) -> list[Example]:
    """Sums of two numbers of two digits."""
    found = []
    for number in range(count):
        a, b = 10 + 7 * number % 90, 10 + 11 * number % 90
        question, answer = f"{' '.join(str(a))} + {' '.join(str(b))}", " ".join(str(a + b))
        found.append(Example(f"{number}", question, answer, group="2"))
    return found


@contextmanager
def bench(model: Path, questions: int, samples: int, max_tokens: int) -> Iterator[Bench]:
    """Two engines of the same settings: one in this process, and one in a worker's GPU process."""
    config = StarConfig.model_validate(
        {
            "kind": "scratchpad",
            "generation": {"max_tokens": max_tokens},
            "evaluation": {"test_time": {"samples": samples, "temperature": 0.7, "methods": ["pass"]}},
        }
    )
    with tempfile.TemporaryDirectory(prefix="candidates-") as folder:
        spec = GpuSpec(model.resolve(), sampler="vllm", max_length=MAX_LENGTH)
        worker = GpuProcess(spec, Path(folder) / "gpu.log")
        here = VllmSampler(model, max_length=MAX_LENGTH)
        try:
            yield Bench(config, additions(questions), here, worker)
        finally:
            worker.kill()
            here.close()


def document(found: Bench, measured: dict[str, list[float]], command: str) -> str:
    samples = settings_of(found.config).samples
    rows = [
        *_rows(
            found,
            measured,
            BARE,
            {
                WORKER: "the phase `test_time`, through the worker's GPU process",
                HERE: "the same, the Sampler in this process",
                SEEDED: f"bare engine, n = {samples}, a seed for each prompt",
                BARE: f"bare engine, n = {samples}: tokens a second",
            },
        ),
        *_rows(
            found,
            measured,
            LOGPROBS,
            {
                SCORER_WORKER: "the Scorer, through the worker's GPU process",
                SCORER_HERE: "the same in this process",
                LOGPROBS: "bare `prompt_logprobs`: scores a second",
            },
        ),
    ]
    said = (
        f"{len(found.examples)} questions, {samples} answers to each; {len(found.texts)} distinct ones "
        f"scored; {len(measured[BARE])} rounds that take turns, after one that warms up. Medians, smallest "
        f"and largest in brackets; a ratio is of the two in one round. Goal: {GOAL}; bold: missed."
    )
    parts = [
        "# What many answers to a question cost",
        f"```sh\n{command}\n```",
        said,
        "  \n".join(machine()),
        table(("what", "a second", "/ bare", "ms of CPU each"), rows),
        notes_beside(PAGE),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _rows(
    found: Bench, measured: dict[str, list[float]], against: str, named: dict[str, str]
) -> Iterator[tuple[str, str, str, str]]:
    for name, label in named.items():
        each = [one / other for one, other in zip(measured[name], measured[against], strict=True)]
        ratio = median_and_range(each)
        missed = median(each) < GOAL
        cpu = significant(median(found.milliseconds[name]))
        yield label, median_and_range(measured[name]), f"**{ratio}**" if missed else ratio, cpu


def _wait_as_workers_do() -> None:
    """Start this program again where its threads would spin while they wait: those of a worker's process do
    not, since it shares its cores, and an engine that has all cores to itself gains a quarter by spinning.
    OpenMP reads this when it is loaded.
    """
    policy = child_environment(None)["OMP_WAIT_POLICY"]
    if os.environ.get("OMP_WAIT_POLICY") == policy:
        return
    os.environ["OMP_WAIT_POLICY"] = policy
    os.execv(sys.executable, [sys.executable, "-m", "benchmarks.candidates", *sys.argv[1:]])  # noqa: S606


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", type=Path, default=MODEL_FOLDER)
    parser.add_argument("--questions", type=int, default=4)
    parser.add_argument("--samples", type=int, default=64)
    parser.add_argument("--max-tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=PAGE)
    given = parser.parse_args()
    _wait_as_workers_do()
    sizes = f"--questions {given.questions} --samples {given.samples} --max-tokens {given.max_tokens}"
    with bench(given.model, given.questions, given.samples, given.max_tokens) as found:
        ways = found.ways()
        for way in ways.values():  # vLLM prepares what each needs when it is first asked
            way()
        found.milliseconds.clear()
        measured = interleaved(ways, given.rounds)
    model = "" if given.model == MODEL_FOLDER else f" --model {given.model}"
    text = document(
        found, measured, f"python -m benchmarks.candidates{model} {sizes} --rounds {given.rounds}"
    )
    print(text)
    given.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
