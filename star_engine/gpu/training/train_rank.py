"""Runs one of the processes that train an adapter together, or look into one that no single GPU holds.

    python -m star_engine.gpu.training.train_rank LAUNCH_FILE RANK

Started by parallel_trainer.py. Standard input is a death pipe, standard output carries JSON lines to the
starter (progress and results from rank 0, errors from any); what libraries print goes to standard error.
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

from star_engine.gpu.training.at_once import AtOnce, StartAgain
from star_engine.gpu.training.lora_run import Ranks
from star_engine.gpu.training.lora_trainer import LoraTrainer
from star_engine.protocols import ScoreRequest, TrainingJob

EXIT_FAILED = 70
WAIT = timedelta(minutes=5)  # for a rank that hangs in CUDA; the starter sees at once when one has ended


def trainer_of(launch: dict[str, Any], rank: int) -> LoraTrainer:
    """Meet the other ranks and load the base model, or this rank's piece of it."""
    state = PartialState(
        cpu=launch["device"] == "cpu",
        init_method=f"file://{launch['meeting']}",  # a file, not a port: nobody else can take it
        rank=rank,
        world_size=launch["ranks"],
        timeout=WAIT,
    )
    ranks = Ranks(
        rank, launch["ranks"], lambda tensor: reduce(tensor, reduction="sum"), sharded=launch["sharded"]
    )
    return LoraTrainer(
        Path(launch["base_model"]),
        threads=launch["threads"],
        device=str(state.device),
        ranks=ranks,
        at_once=None if launch["at_once"] is None else AtOnce(**launch["at_once"]),
        quantization=launch["quantization"],
    )


def replies(trainer: LoraTrainer, asked: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Do what is asked for, on all ranks alike: sharded layers compute on all of them or on none."""
    match asked["call"]:
        case "train":
            for progress in trainer.train(TrainingJob.from_json(asked["job"])):
                yield {"progress": asdict(progress)}
        case "score_trained":
            texts = [ScoreRequest.from_json(text) for text in asked["texts"]]
            adapter = None if asked["adapter"] is None else Path(asked["adapter"])
            yield {"result": [asdict(one) for one in trainer.score_trained(adapter, texts)]}
        case _:
            found = trainer.probe(Path(asked["adapter"]), asked["prompts"], asked["max_tokens"])
            yield {"result": asdict(found)}


def die_with_starter() -> None:
    """However the starter ends, kill -9 included, this pipe does: a rank alone would wait for the others."""
    while os.read(0, 1024):
        pass
    os._exit(EXIT_FAILED)


def main() -> None:
    death_pipe = Thread(target=die_with_starter, name="death-pipe", daemon=True)
    death_pipe.start()
    channel = os.dup(1)
    os.dup2(2, 1)
    rank = int(sys.argv[2])

    def reply(message: dict[str, Any]) -> None:
        os.write(channel, json.dumps(message).encode() + b"\n")

    try:
        launch = json.loads(Path(sys.argv[1]).read_text())
        for message in replies(trainer_of(launch, rank), launch["asked"]):
            if rank == 0:
                reply(message)
        reply({"done": True})
        os._exit(0)  # not sys.exit: threads of the process group can hold up an orderly end
    except StartAgain as again:
        reply({"start_again": asdict(again.at_once)})
    except Exception as error:  # noqa: BLE001 - the boundary: the starter is told, whatever it was
        traceback.print_exc()
        reply({"error": {"kind": type(error).__name__, "message": str(error)}})
    # Until the starter ends all of them: were this one to end now, the others would fail at the lost
    # connection, and the starter could read their errors first.
    death_pipe.join()


if __name__ == "__main__":
    main()
