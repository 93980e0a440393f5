"""Runs one of the processes that train an adapter together.

    python -m star_engine.gpu.training.train_rank LAUNCH_FILE RANK

Started by parallel_trainer.py. Standard input is a death pipe, standard output carries JSON
lines to the starter (progress from rank 0, errors from any); what libraries print goes to standard error.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Iterator
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from threading import Thread
from typing import Any

from accelerate import PartialState
from accelerate.utils import reduce

from star_engine.gpu.training.lora_run import Ranks
from star_engine.gpu.training.lora_trainer import LoraTrainer
from star_engine.protocols import TrainingJob, TrainingProgress

EXIT_FAILED = 70
WAIT = timedelta(minutes=5)  # for a rank that hangs in CUDA; the starter sees at once when one has ended


def progress_of(launch: dict[str, Any], rank: int) -> Iterator[TrainingProgress]:
    """Meet the other ranks, load the base model, train."""
    state = PartialState(
        cpu=launch["device"] == "cpu",
        init_method=f"file://{launch['meeting']}",  # a file, not a port: nobody else can take it
        rank=rank,
        world_size=launch["ranks"],
        timeout=WAIT,
    )
    ranks = Ranks(rank, launch["ranks"], lambda tensor: reduce(tensor, reduction="sum"))
    trainer = LoraTrainer(
        Path(launch["base_model"]), threads=launch["threads"], device=str(state.device), ranks=ranks
    )
    yield from trainer.train(TrainingJob.from_json(launch["job"]))


def die_with_starter() -> None:
    """However the starter ends, kill -9 included, this pipe does: a rank alone would wait for the others."""
    while os.read(0, 1024):
        pass
    os._exit(EXIT_FAILED)


def main() -> None:
    Thread(target=die_with_starter, name="death-pipe", daemon=True).start()
    replies = os.dup(1)
    os.dup2(2, 1)
    rank = int(sys.argv[2])

    def reply(message: dict[str, Any]) -> None:
        os.write(replies, json.dumps(message).encode() + b"\n")

    try:
        for progress in progress_of(json.loads(Path(sys.argv[1]).read_text()), rank):
            if rank == 0:
                reply({"progress": asdict(progress)})
        reply({"done": True})
    except Exception as error:  # noqa: BLE001 - the boundary: the starter is told, whatever it was
        traceback.print_exc()
        reply({"error": {"kind": type(error).__name__, "message": str(error)}})
    os._exit(0)  # not sys.exit: threads of the process group can hold up an orderly end


if __name__ == "__main__":
    main()
