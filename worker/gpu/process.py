"""The supervised child that holds the sampler and the trainer, seen from the worker. Imports no torch."""

from __future__ import annotations

import os
import re
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from app.tracing.spans import NONE, Attributes, Span
from star_engine.protocols import (
    AdapterProbe,
    BadAdapter,
    Completion,
    OutOfMemory,
    SampleRequest,
    SamplingParams,
    Score,
    ScoreRequest,
    TrainingJob,
    TrainingProgress,
    TrainingText,
)
from star_engine.thoughts import (
    AskedQuestion,
    QuietStep,
    ScoredQuestion,
    ThoughtProbe,
    ThoughtTraining,
    Worth,
    worth_from_json,
)
from star_engine.writing import Piece, WriteRequest, piece_from_json
from worker.gpu.pipe import POLL_SECONDS, GpuDied, GpuPipe
from worker.gpu.sampled import Sampled, sampled
from worker.gpu.traced import begin_call

__all__ = ["GpuDied", "GpuFailed", "GpuProcess", "GpuSpec"]

EXIT_OUT_OF_MEMORY = 75
# Of the worker's environment the child gets what tunes its libraries, and nothing that opens a door: it runs
# what models and their tokenizers bring. Failpoints are the tests'.
_SECRET = re.compile(
    r"^(STAR_(?!FAILPOINTS)|AWS_|OTEL_|PG[A-Z]|GOOGLE_|AZURE_|REDIS|DATABASE)"
    r"|(^|_)(TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?|KEY|DSN|URL|URI)(_|$)"
)
HARMLESS = ("BadAdapter", "ValueError")  # errors after which the models are as they were
REQUESTS_PER_LINE = 64  # the child starts on the first line while the rest is on its way


@dataclass(frozen=True, slots=True)
class GpuSpec:
    """What a GPU process holds. Steps with equal specs share one warm process.

    `options` go to the VllmSampler as they are. For the fakes of star_engine.testing.fakes they name
    importable things as "module:name": `script` a function that makes the Script; where wanted, the hooks
    `before_completion` and `before_step`. `batch` and `order` are values.
    """

    base_model: Path
    sampler: Literal["transformers", "vllm", "scripted"] = "transformers"
    device: str = "cpu"
    threads: int | None = None  # torch threads on CPU; None: torch's own choice
    sampler_batch: int = 64  # sequences decoded at once
    training_ranks: int = 1  # processes that train together, one per GPU
    sharding: Literal["auto", "always", "never"] = "auto"  # whether each of them holds a piece of the model
    trained_as: Path | None = None  # what adapters are trained on, where the base model is quantized
    quantization: Literal["nf4"] | None = None  # of the base model while an adapter is trained
    max_length: int | None = None  # tokens of prompt and completion; None: what the base model allows
    lora_rank: int = 0  # of the adapters that vLLM serves beside the base model, on CUDA; 0: its smallest
    halvings: int = 0  # how often vLLM's rows were halved, after the device had run out of memory
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def trained(self) -> Path:
        """The base model that adapters are trained on."""
        return self.trained_as or self.base_model

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` makes the same spec of, in the child."""
        twin = None if self.trained_as is None else str(self.trained_as)
        return asdict(self) | {"base_model": str(self.base_model), "trained_as": twin}

    @staticmethod
    def from_json(sent: Mapping[str, Any]) -> GpuSpec:
        """Read what `to_json` wrote."""
        twin = None if sent["trained_as"] is None else Path(sent["trained_as"])
        return GpuSpec(**{**sent, "base_model": Path(sent["base_model"]), "trained_as": twin})


class GpuFailed(RuntimeError):
    """An unexpected error inside the GPU process, which has been killed because its state is unknown."""

    def __init__(self, message: str, log_tail: str) -> None:
        super().__init__(message)
        self.log_tail = log_tail


class GpuProcess:
    """A Sampler (which is a Scorer) and a Trainer whose model lives in a child process. For one thread.

    While it waits for the child it calls `check` at least every half second. Whatever `check` raises
    (cancelled, fenced, stalled) leaves the running call, and the caller then kills the process.

    Calls raise BadAdapter and ValueError as the sampler and trainer do, and the process stays usable.
    OutOfMemory, GpuFailed and GpuDied mean that it is gone. A new call gives up the one before it, if that
    has not ended: the child drops it after its next completion or training step.
    """

    def __init__(
        self,
        spec: GpuSpec,
        log: Path,
        check: Callable[[], None] = lambda: None,
        prepared: GpuPipe | None = None,
    ) -> None:
        """Start at once; a model is loaded by the first call that needs it. What it prints goes to `log`.

        `prepared`: from `prepare`, with the same threads and log; used if it still lives.
        """
        self.spec = spec
        self.check = check
        alive = prepared is not None and prepared.alive
        self._pipe = prepared if prepared is not None and alive else _start(spec.threads, log)
        self._pipe.send({"spec": spec.to_json()})
        self._began = self._checked = time.monotonic()
        self._loading: float | None = self._began  # since when; None: nothing is loaded now
        self._calls = 0
        self._running = 0  # the call that has not ended; 0: none
        self._answered = 0  # the last call of which the child has said that it ended
        self.sampled = Sampled()  # since it began
        self.model = ""  # the base model's id, for traces
        self._span = Span()  # of the running call

    @property
    def pid(self) -> int:
        """Process id, which is its process group's id as well."""
        return self._pipe.pid

    @property
    def alive(self) -> bool:
        return self._pipe.alive

    @property
    def last_progress(self) -> float:
        """Monotonic time from which a stall is measured: when the running call began or last replied; now,
        if nothing runs, for an idle process owes nobody a reply."""
        return max(self._began, self._pipe.last_progress) if self._running else time.monotonic()

    @property
    def loading_seconds(self) -> float | None:
        """For how long this process has been starting or loading a model; None where it does neither."""
        return None if self._loading is None else time.monotonic() - self._loading

    def matches(self, spec: GpuSpec) -> bool:
        """Whether this process can serve a step that wants `spec`. A larger LoRA rank serves smaller ones."""
        alike = replace(self.spec, lora_rank=spec.lora_rank) == spec
        return self.alive and alike and self.spec.lora_rank >= spec.lora_rank

    def log_tail(self, lines: int = 40) -> str:
        """The last lines that the child and its libraries wrote."""
        return self._pipe.log_tail(lines)

    def use(self, adapter: Path | None) -> None:
        self._ask("use", adapter=_text(adapter))

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [int(count) for count in self._ask("count_tokens", texts=list(texts))]

    def token_ids(self, texts: Sequence[str | TrainingText]) -> list[list[int]]:
        return list(self._ask("token_ids", texts=_sent(texts)))

    def training_token_ids(self, texts: Sequence[str | TrainingText]) -> list[list[int]]:
        return list(self._ask("training_token_ids", texts=_sent(texts)))

    def stream(self, queue: deque[SampleRequest], params: SamplingParams) -> Iterator[Completion]:
        """See Sampler. What is appended to the queue is sent on before the next completion is waited for."""
        call = self._begin("stream", params=asdict(params))
        read = written = 0
        try:
            sampling = self._send_requests(call, queue)
            while sampling:
                completion = _completion(self._next(call)["event"])
                sampling -= 1
                self.sampled += sampled(completion)
                read, written = read + completion.prompt_tokens, written + completion.tokens
                yield completion
                sampling += self._send_requests(call, queue)
            self._pipe.send({"end": True})
            self._next(call)
        finally:
            self._leave(call, {"gen_ai.usage.input_tokens": read, "gen_ai.usage.output_tokens": written})

    def write_with(self, adapter: Path | None) -> None:
        """Writer.use: what `use` says to the sampler stays."""
        self._ask("write_with", adapter=_text(adapter))

    def write(self, queue: deque[WriteRequest], dropped: set[str]) -> Iterator[Piece]:
        """See Writer. What is appended to the queue is sent on within a quarter of a second."""
        call = self._begin("write")
        try:
            writing = self._send_texts(call, queue)
            while writing:
                for message in self._arrived(call):
                    piece = piece_from_json(message["event"])
                    if piece.key in writing:
                        yield piece
                    if piece.ends:
                        writing.discard(piece.key)
                    self._drop(writing, dropped)
                self._drop(writing, dropped)
                writing |= self._send_texts(call, queue)
            self._pipe.send({"end": True})
            self._next(call)
        finally:
            self._leave(call)

    def score(self, requests: Sequence[ScoreRequest]) -> Iterator[Score]:
        """See Scorer."""
        call = self._begin("score", texts=[request.to_json() for request in requests])
        try:
            while "event" in (message := self._next(call)):
                yield Score(message["event"]["key"], tuple(message["event"]["logprobs"]))
        finally:
            self._leave(call)

    def score_trained(self, adapter: Path | None, requests: Sequence[ScoreRequest]) -> list[Score]:
        """See Trainer."""
        texts = [request.to_json() for request in requests]
        named = None if adapter is None else str(adapter)
        found = self._ask("score_trained", adapter=named, texts=texts)
        return [Score(one["key"], tuple(one["logprobs"])) for one in found]

    def train(self, job: TrainingJob) -> Iterator[TrainingProgress]:
        call = self._begin("train", job=job.to_json())
        try:
            while "event" in (message := self._next(call)):
                yield TrainingProgress(**message["event"])
        finally:
            self._leave(call)

    def probe(self, adapter: Path, prompts: Sequence[str], max_tokens: int) -> AdapterProbe:
        found = self._ask("probe", adapter=str(adapter), prompts=list(prompts), max_tokens=max_tokens)
        return AdapterProbe(**found | {name: tuple(found[name]) for name in ("texts", "base_texts")})

    def train_thoughts(self, training: ThoughtTraining) -> Iterator[QuietStep]:
        """See ThoughtModel; so are the following."""
        call = self._begin("train_thoughts", training=training.to_json())
        try:
            while "event" in (message := self._next(call)):
                yield QuietStep(**message["event"] | {"nll_mixed": tuple(message["event"]["nll_mixed"])})
        finally:
            self._leave(call)

    def probe_thoughts(self, adapter: Path, texts: Sequence[str]) -> ThoughtProbe:
        return ThoughtProbe(**self._ask("probe_thoughts", adapter=str(adapter), texts=list(texts)))

    def measure_thoughts(
        self, adapter: Path, documents: Path, *, windows: int, shown: int, seed: int
    ) -> Iterator[tuple[int, int] | Worth]:
        how = {"windows": windows, "shown": shown, "seed": seed}
        call = self._begin("measure_thoughts", adapter=str(adapter), documents=str(documents), **how)
        try:
            while "event" in (message := self._next(call)):
                event = message["event"]
                yield (
                    worth_from_json(event["worth"])
                    if "worth" in event
                    else (event["done"][0], event["done"][1])
                )
        finally:
            self._leave(call)

    def score_with_thoughts(
        self, adapter: Path, questions: Sequence[AskedQuestion], *, seed: int
    ) -> Iterator[ScoredQuestion]:
        sent = [asdict(question) for question in questions]
        call = self._begin("score_with_thoughts", adapter=str(adapter), questions=sent, seed=seed)
        try:
            while "event" in (message := self._next(call)):
                event = message["event"]
                yield ScoredQuestion(event["key"], tuple(event["without"]), tuple(event["mixed"]))
        finally:
            self._leave(call)

    def write_with_thoughts(
        self, adapter: Path, queue: deque[SampleRequest], params: SamplingParams
    ) -> Iterator[Completion]:
        sent = [queue.popleft().to_json() for _ in range(len(queue))]  # `requests` are those of a stream
        call = self._begin("write_with_thoughts", adapter=str(adapter), asked=sent, params=asdict(params))
        try:
            while "event" in (message := self._next(call)):
                completion = _completion(message["event"])
                self.sampled += sampled(completion)
                yield completion
        finally:
            self._leave(call)

    def comes_to_rest(self, seconds: float) -> bool:
        """Give up the running call, and wait so long for the child to be done with it: then it can serve
        others. False: it is not, and only killing it frees the GPU.
        """
        self._leave(self._running)
        deadline = time.monotonic() + seconds
        while self._answered < self._calls and time.monotonic() < deadline:
            try:
                self._pipe.pump()
            except GpuDied:
                return False
            while self._pipe.messages:
                self._received(self._pipe.messages.popleft())
        return self.alive and self._answered == self._calls

    def close(self) -> None:
        """Let the child free its models and exit; kill it if that takes too long."""
        self._pipe.send({"call": "close"})
        self._pipe.wait_for_exit()
        self._pipe.kill()

    def kill(self) -> None:
        """Kill the whole process group and wait until it is gone."""
        self._pipe.kill()

    def _ask(self, name: str, **arguments: Any) -> Any:
        call = self._begin(name, **arguments)
        try:
            return self._next(call)["done"]
        finally:
            self._leave(call)

    def _begin(self, name: str, **arguments: Any) -> int:
        if not self._pipe.open:
            raise self._pipe.death()
        self._leave(self._running)
        self._calls += 1
        self._running = self._calls
        self._began = time.monotonic()
        self._span = begin_call(self.model, self.spec.sampler, name, arguments)
        self._pipe.send({"call": name, "id": self._calls, **arguments})
        return self._calls

    def _leave(self, call: int, found: Attributes = NONE) -> None:
        """The call has ended or is given up. Where it has ended, nobody looks at the cancel."""
        if call and call == self._running:
            self._running = 0
            self._span.note(found)
            self._span.end()
            self._pipe.send({"cancel": True})

    def _require(self, call: int) -> None:
        if call != self._running:
            raise RuntimeError("This call to the GPU process was given up when the next one began.")

    def _send_requests(self, call: int, queue: deque[SampleRequest] | deque[WriteRequest]) -> int:
        self._require(call)
        count = len(queue)
        for start in range(0, count, REQUESTS_PER_LINE):
            taken = [queue.popleft() for _ in range(min(REQUESTS_PER_LINE, count - start))]
            self._pipe.send({"requests": [request.to_json() for request in taken]})
        return count

    def _send_texts(self, call: int, queue: deque[WriteRequest]) -> set[str]:
        """Send what is in the queue; the keys of it."""
        keys = {request.key for request in queue}
        self._send_requests(call, queue)
        return keys

    def _drop(self, writing: set[str], dropped: set[str]) -> None:
        keys = [dropped.pop() for _ in range(len(dropped))]  # another thread may add some meanwhile
        if keys:
            self._pipe.send({"dropped": keys})
            writing.difference_update(keys)

    def _next(self, call: int) -> dict[str, Any]:
        """The next message of this call; errors are raised. What abandoned calls still say is dropped."""
        self._require(call)
        while True:
            for message in self._arrived(call):
                return message

    def _arrived(self, call: int) -> Iterator[dict[str, Any]]:
        """The messages of this call that are there; where there are none, a moment is waited for some."""
        self._look()
        if not self._pipe.messages:
            try:
                self._pipe.pump()
            except GpuDied as death:
                if death.exit_code == EXIT_OUT_OF_MEMORY:
                    raise OutOfMemory("The GPU process ran out of memory.") from death
                raise
        while self._pipe.messages:
            message = self._received(self._pipe.messages.popleft())
            if message["id"] != call or "loads" in message:
                continue
            if "error" in message:
                raise self._error(**message["error"])
            yield message

    def _received(self, message: dict[str, Any]) -> dict[str, Any]:
        """Note what a message says of the child: whether it loads, and which call it has answered."""
        self._loading = time.monotonic() if message.get("loads") else None
        fails = message.get("error", {}).get("kind", "ValueError") not in HARMLESS
        if ("done" in message or "error" in message) and not fails:
            self._answered = message["id"]
        return message

    def _look(self) -> None:
        if time.monotonic() - self._checked >= POLL_SECONDS:
            self.check()
            self._checked = time.monotonic()

    def _error(self, kind: str, message: str) -> Exception:
        self._span.fail(kind)
        if kind == "BadAdapter":
            return BadAdapter(message)
        if kind == "ValueError":
            return ValueError(message)
        self.kill()
        return OutOfMemory(message) if kind == "OutOfMemory" else GpuFailed(message, self.log_tail())


def prepare(threads: int | None, log: Path) -> GpuPipe:
    """Start a GPU process without a model yet, which imports vLLM and the trainer meanwhile."""
    return _start(threads, log, "--import")


def _start(threads: int | None, log: Path, *options: str) -> GpuPipe:
    return GpuPipe(["-m", "worker.gpu.child", *options], child_environment(threads), log)


def _completion(event: dict[str, Any]) -> Completion:
    ids, thoughts = event.pop("ids", None), event.pop("thoughts", ())
    shown = tuple((token, thought) for token, thought in thoughts)
    return Completion(**event, ids=None if ids is None else tuple(ids), thoughts=shown)


def _sent(texts: Sequence[str | TrainingText]) -> list[Any]:
    return [one if isinstance(one, str) else one.to_json() for one in texts]


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)


def child_environment(threads: int | None) -> dict[str, str]:
    """Return the environment of a process that holds models."""
    chosen = {
        "HF_HUB_OFFLINE": "1",  # base models are local and pinned; a worker never downloads one
        "OMP_WAIT_POLICY": "passive",  # where a core is shared, spinning made 1.7 s 12 s
        "PYTHONUNBUFFERED": "1",  # what it printed last is the part of the log that matters
        "TOKENIZERS_PARALLELISM": "true",  # nothing forks there; 2,048 long prompts took seconds of one core
        "VLLM_LOGGING_LEVEL": os.environ.get("VLLM_LOGGING_LEVEL", "WARNING"),  # read when it is imported
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_WORKER_MULTIPROC_METHOD": "spawn",  # CUDA cannot be used after a fork
    }
    if threads is not None:
        chosen["OMP_NUM_THREADS"] = str(threads)
    return {name: value for name, value in os.environ.items() if not _SECRET.search(name)} | chosen
