"""What many answers to a question cost: the phase test_time against vLLM itself, on one engine.

python -m benchmarks.candidates [--model FOLDER] [--questions 8] [--samples 64] [--rounds 5] [--write FILE]

Tokens: the phase asks each question 64 times, with a request and a seed for each answer, judges the texts and
records them in a run directory. The bare engine is given the same prompts once, with n = 64; and again with a
seed for each prompt, since vLLM samples by itself what has one. Scores: the Scorer against `prompt_logprobs`
of the same texts. All take turns on one engine in this process.
"""

from __future__ import annotations

import argparse
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import mkdtemp
from typing import Any

from benchmarks.measuring import interleaved, machine, median_and_range, notes_beside, table
from star_engine.adapters.layout import BaseModel
from star_engine.config.star import StarConfig
from star_engine.data.prompt_sets import read_prompt_set
from star_engine.evaluation.candidates import candidate_mode, candidate_params, own_text, plan_candidates
from star_engine.gpu.vllm_sampler import VllmSampler
from star_engine.phases.phase import Ask, Context, Slice
from star_engine.phases.test_time import TEST_TIME, settings_of
from star_engine.protocols import Sampler, ScoreRequest
from star_engine.record import Origin
from star_engine.run_directory import RunDirectory
from star_engine.run_record import Run, RunRecord
from star_engine.sampling.shared_calls import share_call
from star_engine.tasks.examples import Example
from star_engine.tasks.kind import Kind

GOAL = 0.95
ADDITION = Path("examples/addition")


class OneEngine:
    """The Gpu of a phase that asks the base model alone."""

    def __init__(self, sampler: Sampler) -> None:
        self._sampler = sampler

    def sampler(self, iteration: int) -> Sampler:
        return self._sampler

    def scorer(self, adapter: Path | None) -> Sampler:
        return self._sampler

    def trainer(self) -> Any:
        raise NotImplementedError("test_time trains nothing")


class Bench:
    """One engine, and what is asked of it in each way."""

    def __init__(self, model: Path, questions: int, samples: int, max_tokens: int) -> None:
        self.prompt_set = read_prompt_set((ADDITION / "prompt_set.json").read_bytes(), Kind.SCRATCHPAD)
        self.examples = additions(questions)
        self.config = StarConfig.model_validate(
            {
                "kind": "scratchpad",
                "generation": {"max_tokens": max_tokens},
                "evaluation": {"test_time": {"samples": samples, "temperature": 0.7, "methods": ["pass"]}},
            }
        )
        self.sampler = VllmSampler(model, max_length=1024)
        self.llm: Any = self.sampler._llm  # noqa: SLF001 - the same engine, asked without us
        self.texts = self._texts()

    def _plan(self) -> Any:
        test_time = settings_of(self.config)
        return plan_candidates(self.config, test_time, self.prompt_set, self.examples, 0, set())

    def _texts(self) -> list[ScoreRequest]:
        """What the phase would have scored: each distinct answer of one run behind its prompt."""
        by_id = {one.id: one for one in self.examples}
        written = {
            (one.key.example_id, one.text): None for _, one in share_call(self.sampler, [self._plan()])
        }
        found = []
        for number, (name, text) in enumerate(written):
            asked, ended = own_text(self.config, self.prompt_set, by_id[name], text, 0)
            found.append(ScoreRequest(str(number), asked, ended))
        return found

    def phase(self) -> float:
        """Tokens a second of the phase: asked, judged, recorded."""
        folder = Path(mkdtemp(prefix="candidates-"))
        directory = RunDirectory(folder)
        run = Run(
            self.config, [], self.examples, self.prompt_set, directory, Origin(BaseModel("base")), {}, {}
        )
        part = Slice(0, None, candidate_mode(0))
        record = RunRecord(run, 0, part)
        context = Context(self.config, self.prompt_set, 0, part, record, OneEngine(self.sampler))
        tokens = 0
        began = time.perf_counter()
        for item in TEST_TIME.run(context):
            if isinstance(item, Ask):
                for _, one in share_call(self.sampler, [item.plan]):
                    item.record([one])
                    tokens += one.tokens
        seconds = time.perf_counter() - began
        shutil.rmtree(folder)
        return tokens / seconds

    def bare(self, *, seeded: bool) -> float:
        """Tokens a second of the engine, given each prompt once with n answers."""
        from vllm import SamplingParams

        own = candidate_params(self.config, settings_of(self.config), 0)
        prompts = list(dict.fromkeys(one.prompt for one in self._plan().queue))
        ids = self.sampler.token_ids(prompts)
        settings = [
            SamplingParams(
                n=settings_of(self.config).samples,
                temperature=own.temperature,
                top_p=own.top_p,
                max_tokens=own.max_tokens,
                stop=list(own.stop),
                seed=number if seeded else None,
            )
            for number in range(len(ids))
        ]
        began = time.perf_counter()
        outputs = self.llm.generate([{"prompt_token_ids": one} for one in ids], settings, use_tqdm=False)
        seconds = time.perf_counter() - began
        return sum(len(one.token_ids) for output in outputs for one in output.outputs) / seconds

    def scorer(self) -> float:
        """Scores a second."""
        began = time.perf_counter()
        found = list(self.sampler.score(self.texts))
        return len(found) / (time.perf_counter() - began)

    def bare_scores(self) -> float:
        """The same texts, as tokens, by `prompt_logprobs`."""
        from vllm import SamplingParams

        prompts = [
            {"prompt_token_ids": ids}
            for ids in self.sampler.token_ids([one.text.prompt + one.text.completion for one in self.texts])
        ]
        settings = SamplingParams(temperature=0.0, max_tokens=1, prompt_logprobs=0, detokenize=False)
        began = time.perf_counter()
        outputs = self.llm.generate(prompts, settings, use_tqdm=False)
        return len(outputs) / (time.perf_counter() - began)


def additions(count: int) -> list[Example]:
    """Sums of two numbers of two digits."""
    found = []
    for number in range(count):
        a, b = 10 + 7 * number % 90, 10 + 11 * number % 90
        question, answer = f"{' '.join(str(a))} + {' '.join(str(b))}", " ".join(str(a + b))
        found.append(Example(f"{number}", question, answer, group="2"))
    return found


def document(bench: Bench, measured: dict[str, list[float]], command: str, out: Path | None) -> str:
    def ratio(ours: str, theirs: str) -> str:
        each = [one / other for one, other in zip(measured[ours], measured[theirs], strict=True)]
        found = median_and_range(each)
        return f"**{found}**" if median(each) < GOAL else found

    samples = settings_of(bench.config).samples
    rows = [
        ("tokens a second: the phase test_time", median_and_range(measured["phase"]), ""),
        (f"bare engine, n = {samples}", median_and_range(measured["bare"]), ratio("phase", "bare")),
        (
            f"bare engine, n = {samples}, a seed for each prompt",
            median_and_range(measured["seeded"]),
            ratio("phase", "seeded"),
        ),
        ("scores a second: Scorer", median_and_range(measured["scorer"]), ""),
        (
            "bare `prompt_logprobs`",
            median_and_range(measured["bare_scores"]),
            ratio("scorer", "bare_scores"),
        ),
    ]
    parts = [
        "# What many answers to a question cost",
        f"`{command}`",
        (
            f"{len(bench.examples)} questions, {samples} answers to each, {len(bench.texts)} distinct ones "
            f"scored; {len(measured['phase'])} rounds that take turns. Medians, and smallest and largest in "
            f"brackets; a ratio is of the two in one round. Goal: {GOAL}; bold: missed."
        ),
        table(("what", "measured", "ours / theirs"), rows),
        "  \n".join(machine()),
        "" if out is None else notes_beside(out),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, default=ADDITION / "model")
    parser.add_argument("--questions", type=int, default=8)
    parser.add_argument("--samples", type=int, default=64)
    parser.add_argument("--max-tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--write", type=Path)
    given = parser.parse_args()
    bench = Bench(given.model, given.questions, given.samples, given.max_tokens)
    runs: dict[str, Callable[[], float]] = {
        "phase": bench.phase,
        "bare": lambda: bench.bare(seeded=False),
        "seeded": lambda: bench.bare(seeded=True),
        "scorer": bench.scorer,
        "bare_scores": bench.bare_scores,
    }
    measured = interleaved(runs, given.rounds)
    bench.sampler.close()
    command = f"python -m benchmarks.candidates --questions {given.questions} --rounds {given.rounds}"
    text = document(bench, measured, command, given.write)
    print(text)
    if given.write is not None:
        given.write.write_text(text)


if __name__ == "__main__":
    main()
