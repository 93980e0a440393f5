"""The commands that the GPU process obeys, and the requests that arrive while one of them runs."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeVar

from star_engine.protocols import (
    Completion,
    SampleRequest,
    SamplingParams,
    Scorer,
    ScoreRequest,
    TrainingJob,
    TrainingText,
    is_out_of_memory,
)
from star_engine.thoughts import AskedQuestion, ThoughtModel, ThoughtTraining, Worth
from star_engine.writing import Writer, WriteRequest
from worker.gpu.models import Models

JsonObject = dict[str, Any]
Emit = Callable[[JsonObject], None]
Sampling = Callable[[deque[SampleRequest], SamplingParams], Iterator[Completion]]  # Sampler.stream


@dataclass(slots=True)
class Call:
    """One command, and the messages that arrive while it runs: requests, end, cancel."""

    message: JsonObject
    arrivals: SimpleQueue[JsonObject] = field(default_factory=SimpleQueue)


R = TypeVar("R")


class Inbox(deque[R]):
    """The sampler's queue. Looking at its length takes in what has arrived: requests join a running batch
    between two steps of the sampler, in the sampler's own thread."""

    def __init__(self, arrivals: SimpleQueue[JsonObject], read: Callable[[JsonObject], R]) -> None:
        super().__init__()
        self.ended = False  # by the worker: no more requests, or no more interest
        self.dropped: set[str] = set()  # keys of requests whose answer nobody waits for any more
        self._read = read
        self._arrivals = arrivals

    def __len__(self) -> int:
        self.look()
        return super().__len__()

    def look(self) -> None:
        while not self._arrivals.empty():
            self._take()

    def wait(self) -> None:
        """Wait until there are requests or the call has ended."""
        while not (len(self) or self.ended):
            self._take()

    def _take(self) -> None:
        message = self._arrivals.get()
        self.ended |= "end" in message or "cancel" in message
        self.dropped.update(message.get("dropped", ()))
        self.extend(map(self._read, message.get("requests", ())))


def run(models: Models, call: Call, emit: Emit) -> Any:
    """Run the command and return its result; events on the way go to `emit`."""
    message = call.message
    match message["call"]:
        case "use":
            return models.use(_path(message["adapter"]))
        case "count_tokens":
            return models.sampler().count_tokens(message["texts"])
        case "token_ids":
            return models.sampler().token_ids(_texts(message["texts"]))
        case "stream":
            return stream(models.stream, call, emit)
        case "score":
            return score(models.sampler(), call, emit)
        case "write" | "write_with":
            return run_writer(models.writer(), call, emit)
        case (
            "train_thoughts"
            | "probe_thoughts"
            | "measure_thoughts"
            | "score_with_thoughts"
            | "write_with_thoughts"
        ):
            return run_thoughts(models.thoughts(), call, emit)
        case "train" | "probe" | "score_trained" | "training_token_ids":
            return run_trainer(models, call, emit)
        case other:
            raise ValueError(f"The GPU process knows no command {other}.")


def run_trainer(models: Models, call: Call, emit: Emit) -> Any:
    """Do what a Trainer is asked for."""
    message = call.message
    match message["call"]:
        case "train":
            return train(models, call, emit)
        case "training_token_ids":
            return models.trainer().training_token_ids(_texts(message["texts"]))
        case "score_trained":
            texts = [ScoreRequest.from_json(text) for text in message["texts"]]
            trained = models.trainer().score_trained(_path(message["adapter"]), texts)
            return [asdict(one) for one in trained]
        case _:
            adapter, prompts = Path(message["adapter"]), message["prompts"]
            return asdict(models.trainer().probe(adapter, prompts, message["max_tokens"]))


def run_thoughts(model: ThoughtModel, call: Call, emit: Emit) -> Any:
    """Do what jobs on documents ask for."""
    message = call.message
    adapter = Path(message.get("adapter", ""))
    match message["call"]:
        case "train_thoughts":
            found = map(asdict, model.train_thoughts(ThoughtTraining.from_json(message["training"])))
            return _until_cancelled(found, call, emit)
        case "measure_thoughts":
            measured = model.measure_thoughts(
                adapter,
                Path(message["documents"]),
                windows=message["windows"],
                shown=message["shown"],
                seed=message["seed"],
            )
            events = ({"worth": asdict(one)} if isinstance(one, Worth) else {"done": one} for one in measured)
            return _until_cancelled(events, call, emit)
        case "score_with_thoughts":
            questions = [
                AskedQuestion(**one | {"answers": tuple(one["answers"])}) for one in message["questions"]
            ]
            scored = model.score_with_thoughts(adapter, questions, seed=message["seed"])
            return _until_cancelled(map(asdict, scored), call, emit)
        case "write_with_thoughts":
            queue = deque(map(SampleRequest.from_json, message["asked"]))
            written = model.write_with_thoughts(adapter, queue, _params(message["params"]))
            return _until_cancelled(map(asdict, written), call, emit)
        case _:
            return asdict(model.probe_thoughts(adapter, message["texts"]))


def _until_cancelled(events: Iterable[JsonObject], call: Call, emit: Emit) -> None:
    for event in events:
        emit(event)
        if not call.arrivals.empty():  # only a cancel can have arrived
            return


def run_writer(writer: Writer, call: Call, emit: Emit) -> Any:
    """Do what those ask who talk to the model."""
    message = call.message
    match message["call"]:
        case "write":
            return write(writer, call, emit)
        case _:
            return writer.use(_path(message["adapter"]))


def stream(sample: Sampling, call: Call, emit: Emit) -> None:
    """Sample until the worker ends the call: when the queue is empty, completions that are still on their way
    to the worker may bring more requests back."""
    params = _params(call.message["params"])
    inbox = Inbox(call.arrivals, SampleRequest.from_json)
    while not inbox.ended:
        for completion in sample(inbox, params):
            emit(asdict(completion))
            inbox.look()
            if inbox.ended:
                return
        inbox.wait()


def write(writer: Writer, call: Call, emit: Emit) -> None:
    """Write texts until the worker ends the call, as `stream` does."""
    inbox = Inbox(call.arrivals, WriteRequest.from_json)
    while not inbox.ended:
        for piece in writer.write(inbox, inbox.dropped):
            emit(asdict(piece))
            inbox.look()
            if inbox.ended:
                return
        inbox.wait()


def score(scorer: Scorer, call: Call, emit: Emit) -> None:
    for one in scorer.score([ScoreRequest.from_json(text) for text in call.message["texts"]]):
        emit(asdict(one))
        if not call.arrivals.empty():  # only a cancel can have arrived
            return


def train(models: Models, call: Call, emit: Emit) -> None:
    """Train. Out of memory beside the sampler, train once more without it, from the last resume point."""
    job = TrainingJob.from_json(call.message["job"])
    try:
        _train(models, job, call, emit)
    except Exception as error:
        if not (is_out_of_memory(error) and models.make_room()):
            raise
        sys.stdout.write("The sampler makes room for the training: it is loaded again afterwards.\n")
        _train(models, job, call, emit)


def _train(models: Models, job: TrainingJob, call: Call, emit: Emit) -> None:
    for step in models.trainer().train(job):
        emit(asdict(step) | {"sampler_share": models.sampler_share})
        if not call.arrivals.empty():  # only a cancel can have arrived
            return


def _params(sent: JsonObject) -> SamplingParams:
    return SamplingParams(**sent | {"stop": tuple(sent["stop"])})


def _texts(sent: Sequence[Any]) -> list[str | TrainingText]:
    return [one if isinstance(one, str) else TrainingText.from_json(one) for one in sent]


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text)
