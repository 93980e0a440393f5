"""A Trainer that shares every batch out between several processes on one machine, one per GPU.

Each process (train_rank.py) holds the base model and the adapter, learns from its part of the batch, and
adds up the gradients with the others through accelerate: gloo on CPU, NCCL on GPUs. The processes
live as long as one training, so that the GPUs are free for the sampler afterwards. They are started here and
not by `accelerate launch`: they must stay in this process's group, which is killed as a whole.
"""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from star_engine.gpu.causal_lm import free_memory
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
    """`ranks` processes train; everything else is done in this one."""

    def __init__(
        self, base_model: Path, *, ranks: int, threads: int | None = None, device: str = "cpu"
    ) -> None:
        """`threads`: of all ranks together, on CPU."""
        self._base_model = base_model
        self._ranks = ranks
        self._threads = threads
        self._device = device
        self._alone: LoraTrainer | None = None  # made when first needed

    def train(self, job: TrainingJob) -> Iterator[TrainingProgress]:
        """See Trainer. Losses are those of one process, but for the order of summation (and for dropout).

        A process that ends or fails ends them all: RuntimeError, or the error that it had.
        """
        self._free()  # its copy of the model takes memory that rank 0 needs
        with TemporaryDirectory(prefix="star-ranks-") as folder:
            launch = {
                "base_model": str(self._base_model),
                "ranks": self._ranks,
                "threads": max(1, (self._threads or os.cpu_count() or 1) // self._ranks),
                "device": self._device,
                "meeting": str(Path(folder, "meeting")),
                "job": job.to_json(),
            }
            path = Path(folder, "launch.json")
            path.write_text(json.dumps(launch))
            with _started(path, self._ranks, launch["threads"]) as processes:
                yield from _progress(processes)

    def training_token_ids(self, texts: Sequence[str | TrainingText]) -> list[list[int]]:
        """See Trainer."""
        return self._one().training_token_ids(texts)

    def score_trained(self, adapter: Path, requests: Sequence[ScoreRequest]) -> list[Score]:
        """See Trainer."""
        return self._one().score_trained(adapter, requests)

    def probe(self, adapter: Path, prompts: Sequence[str], max_tokens: int) -> AdapterProbe:
        """See Trainer."""
        return self._one().probe(adapter, prompts, max_tokens)

    def _free(self) -> None:
        if self._alone is not None:
            self._alone = None
            free_memory()

    def _one(self) -> LoraTrainer:
        if self._alone is None:
            self._alone = LoraTrainer(self._base_model, threads=self._threads, device=self._device)
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


def _progress(processes: Sequence[subprocess.Popen[bytes]]) -> Iterator[TrainingProgress]:
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
                    if "progress" in message:
                        yield TrainingProgress(**message["progress"])
                    else:
                        done += 1
                        selector.unregister(key.fileobj)


def _error(kind: str, message: str) -> Exception:
    known = RAISED.get(kind)
    return known(message) if known is not None else RuntimeError(f"{kind} in a training process: {message}")
