"""A Trainer that shares every batch out between several processes on one machine, one per GPU.

Each process (train_rank.py) holds the adapter and the base model, or a piece of it where one GPU does not
hold it whole (sharded_model.py). It learns from its part of the batch, and adds up the gradients with the
others through accelerate: gloo on CPU, NCCL on GPUs. The processes live as long as one training, so that the
GPUs are free for the sampler afterwards. They are started here and not by `accelerate launch`: they must stay
in this process's group, which is killed as a whole.
"""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from star_engine.gpu.causal_lm import free_memory, load_tokenizer
from star_engine.gpu.text_parts import text_ids
from star_engine.gpu.training.at_once import AtOnce, StartAgain
from star_engine.gpu.training.four_bits import SHARDED
from star_engine.gpu.training.lora_trainer import LoraTrainer
from star_engine.protocols import (
    AdapterProbe,
    BadAdapter,
    OutOfMemory,
    Score,
    ScoreRequest,
    TrainingJob,
    TrainingProgress,
    TrainingText,
)

RAISED = {kind.__name__: kind for kind in (BadAdapter, FloatingPointError, OutOfMemory, ValueError)}
READ_BYTES = 1 << 16


class ParallelTrainer:
    """`ranks` processes train. Those that hold a piece of the model each also probe and score, together;
    where each holds all of it, this process does that by itself."""

    def __init__(
        self,
        base_model: Path,
        *,
        ranks: int,
        threads: int | None = None,
        device: str = "cpu",
        sharded: bool = False,
        quantization: Literal["nf4"] | None = None,
    ) -> None:
        """`threads`: of all ranks together, on CPU. sharded: whether each holds a piece of the base model.

        quantization: as LoraTrainer's. Raises ValueError for one that is to be quantized and sharded.
        """
        if sharded and quantization is not None:
            raise ValueError(SHARDED)
        self._quantization = quantization
        self._base_model = base_model
        self._ranks = ranks
        self._threads = threads
        self._device = device
        self._sharded = sharded
        self._at_once: AtOnce | None = None  # what fits of a step; None: the ranks find it out
        self._alone: LoraTrainer | None = None  # made when first needed
        self._tokenizer: Any = None

    def train(self, job: TrainingJob) -> Iterator[TrainingProgress]:
        """See Trainer. Losses are those of one process, but for the order of summation (and for dropout).

        A process that ends or fails ends them all: RuntimeError, or the error that it had. Where sharded
        layers run out of memory, all start again with less, from the last resume point.
        """
        self._free()  # its copy of the model takes memory that rank 0 needs
        while True:
            try:
                for message in self._ask({"call": "train", "job": job.to_json()}):
                    yield TrainingProgress(**message["progress"])
                return
            except StartAgain as again:
                self._at_once = again.at_once

    def training_token_ids(self, texts: Sequence[str | TrainingText]) -> list[list[int]]:
        """See Trainer. Needs the tokenizer alone."""
        if self._tokenizer is None:
            self._tokenizer = load_tokenizer(self._base_model)
        return text_ids(self._tokenizer, texts)

    def score_trained(self, adapter: Path | None, requests: Sequence[ScoreRequest]) -> list[Score]:
        """See Trainer."""
        if not self._sharded:
            return self._one().score_trained(adapter, requests)
        texts = [request.to_json() for request in requests]
        named = None if adapter is None else str(adapter)
        asked = {"call": "score_trained", "adapter": named, "texts": texts}
        [found] = self._ask(asked)
        return [Score(one["key"], tuple(one["logprobs"])) for one in found["result"]]

    def probe(self, adapter: Path, prompts: Sequence[str], max_tokens: int) -> AdapterProbe:
        """See Trainer."""
        if not self._sharded:
            return self._one().probe(adapter, prompts, max_tokens)
        asked = {"call": "probe", "adapter": str(adapter), "prompts": list(prompts), "max_tokens": max_tokens}
        [found] = self._ask(asked)
        texts = {name: tuple(found["result"][name]) for name in ("texts", "base_texts")}
        return AdapterProbe(**found["result"] | texts)

    def _ask(self, asked: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Start the ranks for one call; what rank 0 says, until all are done."""
        with TemporaryDirectory(prefix="star-ranks-") as folder:
            launch = {
                "base_model": str(self._base_model),
                "ranks": self._ranks,
                "sharded": self._sharded,
                "quantization": self._quantization,
                "at_once": None if self._at_once is None else asdict(self._at_once),
                "threads": max(1, (self._threads or os.cpu_count() or 1) // self._ranks),
                "device": self._device,
                "meeting": str(Path(folder, "meeting")),
                "asked": asked,
            }
            path = Path(folder, "launch.json")
            path.write_text(json.dumps(launch))
            with _started(path, self._ranks, launch["threads"]) as processes:
                yield from _messages(processes)

    def _free(self) -> None:
        if self._alone is not None:
            self._alone = None
            free_memory()

    def _one(self) -> LoraTrainer:
        if self._alone is None:
            self._alone = LoraTrainer(
                self._base_model,
                threads=self._threads,
                device=self._device,
                quantization=self._quantization,
            )
        return self._alone


@contextmanager
def _started(launch: Path, ranks: int, threads: Any) -> Iterator[list[subprocess.Popen[bytes]]]:
    """The processes, in this process's group; none is left afterwards, whatever happens in between."""
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for rank in range(ranks):
            command = [sys.executable, "-m", "star_engine.gpu.training.train_rank", str(launch), str(rank)]
            environment = {**os.environ, **_environment(rank, ranks, threads)}
            pipe = subprocess.PIPE
            one = subprocess.Popen(command, stdin=pipe, stdout=pipe, env=environment)
            processes.append(one)
        yield processes
    finally:
        for process in processes:
            process.kill()
        for process in processes:
            process.communicate()


def _environment(rank: int, ranks: int, threads: int) -> dict[str, str]:
    """What accelerate and torch read, in the words of their launchers."""
    return {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(ranks),
        "LOCAL_WORLD_SIZE": str(ranks),
        "OMP_NUM_THREADS": str(threads),
        "NCCL_SOCKET_IFNAME": "lo",
        "GLOO_SOCKET_IFNAME": "lo",  # one machine: nothing to look up, nothing to see from outside
    }


def _messages(processes: Sequence[subprocess.Popen[bytes]]) -> Iterator[dict[str, Any]]:
    """What rank 0 reports, until all are done."""
    with selectors.DefaultSelector() as selector:
        for rank, process in enumerate(processes):
            assert process.stdout is not None  # noqa: S101 - Popen made it
            selector.register(process.stdout, selectors.EVENT_READ, rank)
        received = [b""] * len(processes)
        done = 0
        while done < len(processes):
            for key, _ in selector.select():
                data = os.read(key.fd, READ_BYTES)
                if not data:
                    raise RuntimeError(
                        f"Training process {key.data} ended with {processes[key.data].wait()}."
                    )
                *lines, received[key.data] = (received[key.data] + data).split(b"\n")
                for message in map(json.loads, lines):
                    if "error" in message:
                        raise _error(**message["error"])
                    if "start_again" in message:
                        raise StartAgain(AtOnce(**message["start_again"]))
                    if "done" in message:
                        done += 1
                        selector.unregister(key.fileobj)
                    else:
                        yield message


def _error(kind: str, message: str) -> Exception:
    known = RAISED.get(kind)
    return known(message) if known is not None else RuntimeError(f"{kind} in a training process: {message}")
