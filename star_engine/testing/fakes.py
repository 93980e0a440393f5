"""Fakes of the GPU, shipped: a sampler that follows a script, and a trainer that records its calls.

They keep the protocols to the letter (queues that grow, stops, token limits, checkpoints, adapters that
load), so that whole jobs run on them in milliseconds, in this process or in another one. `addition_pupil`
is a script that learns: with it a job climbs digit by digit, as in the paper's Figure 4.
"""

from __future__ import annotations

import json
import math
import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Literal

from star_engine.adapters.layout import OPTIMIZER, WEIGHTS, file_sha256, write_durably
from star_engine.data.selection import chance
from star_engine.protocols import (
    AdapterProbe,
    Completion,
    DistilledText,
    PreferencePair,
    SampleRequest,
    SamplingParams,
    Score,
    ScoreRequest,
    TrainingJob,
    TrainingProgress,
    TrainingText,
)
from star_engine.sampling.stops import first_stop
from star_engine.testing.adapters import make_adapter_bytes, read_weights, write_adapter
from star_engine.testing.addition import Script, addition_pupil, addition_scratchpad, lessons_in

__all__ = [
    "Order",
    "RecordingTrainer",
    "Script",
    "ScriptedSampler",
    "TrainingRun",
    "addition_pupil",
    "addition_scratchpad",
    "count_words",
    "from_table",
    "make_adapter_bytes",
    "write_adapter",
]

Order = Literal["first", "last", "shuffled"]
LIKELY, UNLIKELY = 0.9, 0.05  # probabilities of a word
WORD = re.compile(r"\s*\S+|\s+")  # a token of the fakes


def from_table(table: Mapping[str, str]) -> Script:
    """A script that looks the prompt up; an unknown prompt is a KeyError that shows it."""
    return lambda request, _adapter: table[request.prompt]


def word_ids(text: str) -> list[int]:
    """Token ids of the fakes: equal words have equal ones."""
    return [int(sha256(word.encode("utf-8", "replace")).hexdigest()[:8], 16) for word in WORD.findall(text)]


def _ids(texts: Sequence[str | TrainingText]) -> list[list[int]]:
    found = []
    for one in texts:
        parts = [one] if isinstance(one, str) else [one.prompt, *(part.text for part in one.parts)]
        whole = parts if len(parts) > 1 or isinstance(one, str) else [one.prompt + one.completion]
        found.append([number for part in whole for number in word_ids(part)])
    return found


def count_words(text: str) -> int:
    """Tokens of the fakes: a word with the white space before it."""
    return len(WORD.findall(text))


def _learned_words(text: TrainingText) -> list[tuple[int, str]]:
    """The words of the completion that no masked span touches, each with its number."""
    return [
        (number, word[0])
        for number, word in enumerate(WORD.finditer(text.completion))
        if not any(word.start() < end and start < word.end() for start, end in text.masked)
    ]


def _score(script: Script, adapter: Path | None, request: ScoreRequest) -> Score:
    written = WORD.findall(script(SampleRequest(request.key, request.text.prompt), adapter))
    asked = _learned_words(request.text)
    if not asked:
        raise ValueError(f"Text {request.key} has no token that is learned.")
    right = [written[at : at + 1] == [word] for at, word in asked]
    if request.eos:
        right.append(len(written) == count_words(request.text.completion))
    return Score(request.key, tuple(math.log(LIKELY if one else UNLIKELY) for one in right))


class ScriptedSampler:
    """A Sampler that answers from a script.

    batch: requests that run at once; the queue is refilled before every completion, as in continuous
    batching. order: which of the running requests finishes next. before_completion: called with each key
    before its completion is yielded, for tests that wait, count or fail there.
    """

    def __init__(
        self,
        script: Script | Mapping[str, str],
        *,
        batch: int = 8,
        order: Order = "first",
        before_completion: Callable[[str], None] | None = None,
    ) -> None:
        self._script = from_table(script) if isinstance(script, Mapping) else script
        self._batch = batch
        self._order = order
        self._before_completion = before_completion
        self.adapter: Path | None = None
        self.requests: list[SampleRequest] = []  # in the order in which they joined the batch
        self.largest_batch = 0
        self.closed = False

    def use(self, adapter: Path | None) -> None:
        if adapter is not None:
            read_weights(adapter)
        self.adapter = adapter

    def stream(self, queue: deque[SampleRequest], params: SamplingParams) -> Iterator[Completion]:
        running: list[SampleRequest] = []
        while queue or running:
            while queue and len(running) < self._batch:
                running.append(queue.popleft())
                self.requests.append(running[-1])
            self.largest_batch = max(self.largest_batch, len(running))
            request = running.pop(self._next(running))
            if self._before_completion is not None:
                self._before_completion(request.key)
            yield self._complete(request, params)

    def score(self, requests: Sequence[ScoreRequest]) -> Iterator[Score]:
        """A word that the script would write at its place is LIKELY, any other UNLIKELY."""
        return (_score(self._script, self.adapter, request) for request in requests)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [count_words(text) for text in texts]

    def token_ids(self, texts: Sequence[str | TrainingText]) -> list[list[int]]:
        return _ids(texts)

    def close(self) -> None:
        self.closed = True

    def _next(self, running: Sequence[SampleRequest]) -> int:
        if self._order == "shuffled":
            return int(chance(0, len(self.requests), "order", running[0].key) * len(running))
        return 0 if self._order == "first" else len(running) - 1

    def _complete(self, request: SampleRequest, params: SamplingParams) -> Completion:
        own = params.of(request)
        text = self._script(request, self.adapter)
        end, stop = first_stop(text, own.stop) or (len(text), None)
        words = WORD.findall(text[:end])
        cut = len(words) > own.max_tokens
        return Completion(
            key=request.key,
            text="".join(words[: own.max_tokens]),
            prompt_tokens=count_words(request.prompt),
            tokens=min(len(words), own.max_tokens),
            finish_reason="length" if cut else "stop",
            stopped_by=None if cut else stop,
        )


@dataclass(frozen=True, slots=True)
class TrainingRun:
    """One recorded call of RecordingTrainer.train."""

    rows: tuple[TrainingText, ...]
    steps: int
    seed: int
    start: Path | None
    moments: Path | None
    resumed_from: int  # step of the checkpoint; 0: from the beginning


class RecordingTrainer:
    """A Trainer that remembers its rows and writes a tiny adapter that is valid by the real checks.

    script: what its probe lets "PEFT" write; give it the sampler's. before_step: called with each step's
    number before it is done, for tests that wait, count or fail there.
    """

    def __init__(
        self, script: Script | None = None, *, before_step: Callable[[int], None] | None = None
    ) -> None:
        self._script = script or (lambda _request, _adapter: "")
        self._before_step = before_step
        self.runs: list[TrainingRun] = []

    def train(self, job: TrainingJob) -> Iterator[TrainingProgress]:
        rows, training, checkpoints = job.texts, job.settings, job.checkpoints
        digest = _input_sha256(job)
        done = _newest_checkpoint(checkpoints, digest)
        self.runs.append(TrainingRun(rows, job.steps, job.seed, job.start, job.moments, done))
        words = sum(count_words(row.completion) for row in rows)
        per_step = training.batch_tokens or words * training.batch_size // max(len(rows), 1)
        checkpoints.mkdir(parents=True, exist_ok=True)
        for step in range(done + 1, job.steps + 1):
            if self._before_step is not None:
                self._before_step(step)
            if step % training.checkpoint_every == 0:
                state = json.dumps({"step": step, "input": digest})
                write_durably(checkpoints / f"step-{step}.json", state)
            yield TrainingProgress(
                step,
                job.steps,
                loss=1 / step,
                tokens=step * per_step,
                grad_norm=2 / step,
                learning_rate=training.learning_rate,
            )
        job.out.mkdir(parents=True, exist_ok=True)
        lora = training.lora
        taught = [
            one.chosen
            if isinstance(one, PreferencePair)
            else one.student
            if isinstance(one, DistilledText)
            else one
            for one in job.data
        ]
        if training.optimizer == "carry":
            before = json.loads(job.moments.read_text())["steps"] if job.moments is not None else 0
            write_durably(job.out / OPTIMIZER, json.dumps({"steps": before + job.steps}))
        lessons = lessons_in(taught, job.start)
        write_adapter(
            job.out, rank=lora.rank, alpha=lora.alpha, lessons=lessons, learned=_learned_sha256(job)
        )

    def training_token_ids(self, texts: Sequence[str | TrainingText]) -> list[list[int]]:
        return _ids(texts)

    def score_trained(self, adapter: Path | None, requests: Sequence[ScoreRequest]) -> list[Score]:
        if adapter is not None:
            read_weights(adapter)
        return [_score(self._script, adapter, request) for request in requests]

    def probe(self, adapter: Path, prompts: Sequence[str], max_tokens: int) -> AdapterProbe:
        weights = read_weights(adapter)
        requests = [SampleRequest(f"probe/{n}", prompt) for n, prompt in enumerate(prompts)]
        norm = math.sqrt(sum(weight * weight for weight in weights))
        return AdapterProbe(
            texts=tuple(_first_words(self._script(r, adapter), max_tokens) for r in requests),
            base_texts=tuple(_first_words(self._script(r, None), max_tokens) for r in requests),
            finite=all(math.isfinite(weight) for weight in weights),
            weight_norm=norm,
            max_logit_delta=norm,
        )


def _first_words(text: str, count: int) -> str:
    return "".join(WORD.findall(text)[:count])


def _learned_sha256(job: TrainingJob) -> str:
    """Of all that the weights of a real training depend on, wherever its folders are."""
    facts = job.to_json()
    learned = {name: facts[name] for name in ("data", "steps", "seed", "preference", "distillation")}
    start = "" if job.start is None else file_sha256(job.start / WEIGHTS)
    return sha256(json.dumps([learned, start]).encode()).hexdigest()


def _input_sha256(job: TrainingJob) -> str:
    learned = {
        name: value for name, value in job.to_json().items() if name not in ("out", "checkpoints", "moments")
    }
    return sha256(json.dumps(learned).encode()).hexdigest()


def _newest_checkpoint(checkpoints: Path, digest: str) -> int:
    """Step of the newest checkpoint that was written for this very input; 0 if there is none."""
    found = [0]
    for path in checkpoints.glob("step-*.json"):
        try:
            state = json.loads(path.read_text())
        except ValueError:
            continue
        if state.get("input") == digest:
            found.append(int(state["step"]))
    return max(found)
