"""B1, script 1 of 4: vLLM generates a rationale for every question.

    python -m benchmarks.baselines.generate FOLDER

With --rationalize the failures are rationalized by the same process (B1s), and script 2 is not needed.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.baselines.engine import open_llm, sample
from benchmarks.baselines.task import noted, read_task, write_tries
from star_engine.sampling.rationales import Route


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rationalize", action="store_true")
    arguments = parser.parse_args()
    task = read_task(arguments.folder)
    with noted(task, "start"):
        llm = open_llm(task, task.model)
    with noted(task, "generate"):
        tries = sample(task, llm, task.train, Route.GENERATED)
        write_tries(task, "generated", tries)
        if arguments.rationalize:
            write_tries(task, "rationalized", sample(task, llm, task.failed(tries), Route.RATIONALIZED))


if __name__ == "__main__":
    main()
