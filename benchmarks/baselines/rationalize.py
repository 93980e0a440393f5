"""B1, script 2 of 4: vLLM rationalizes the failures, with the answer as a hint.

python -m benchmarks.baselines.rationalize FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.baselines.engine import open_llm, sample
from benchmarks.baselines.task import noted, read_task, read_tries, write_tries
from star_engine.sampling.rationales import Route


def main() -> None:
    task = read_task(Path(sys.argv[1]))
    failed = task.failed(read_tries(task, "generated"))
    llm = open_llm(task, task.model)
    with noted(task, "rationalize"):
        write_tries(task, "rationalized", sample(task, llm, failed, Route.RATIONALIZED))


if __name__ == "__main__":
    main()
