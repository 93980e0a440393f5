"""B0: nothing but vLLM's own loop on the requests that the service's sampler sends.

    python -m benchmarks.baselines.bare_engine FOLDER

As in the service, a failed example is asked again with the hint as soon as it has failed. The requests are
run twice, with an empty prefix cache each time; the second run counts, since the service's engine is warm.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from benchmarks.baselines.engine import judged, open_llm, vllm_params
from benchmarks.baselines.task import Task, noted, read_task, write_tries
from star_engine.sampling.rationales import Rationale, Route
from star_engine.tasks.examples import Example
from star_engine.tasks.verdict import VerdictCode


def drive(task: Task, llm: Any) -> list[Rationale]:
    engine, params = llm.llm_engine, vllm_params(llm, task.params)
    running: dict[str, tuple[Example, Route]] = {}
    tries: list[Rationale] = []

    def ask(example: Example, route: Route) -> None:
        name = f"{route}/{example.id}"
        running[name] = (example, route)
        engine.add_request(name, task.prompt(example, route), params)

    for example in task.train:
        ask(example, Route.GENERATED)
    while running:
        for output in engine.step():
            if not output.finished:
                continue
            example, route = running.pop(output.request_id)
            tries.append(judged(task, example, route, output.outputs[0]))
            if route is Route.GENERATED and tries[-1].verdict != VerdictCode.CORRECT:
                ask(example, Route.RATIONALIZED)
    return tries


def main() -> None:
    task = read_task(Path(sys.argv[1]))
    with noted(task, "start"):
        llm = open_llm(task, task.model)
    drive(task, llm)
    assert llm.reset_prefix_cache()
    with noted(task, "bare_engine") as facts:
        tries = drive(task, llm)
        facts["tokens"] = sum(one.tokens for one in tries)
    write_tries(task, "bare_engine", tries)


if __name__ == "__main__":
    main()
