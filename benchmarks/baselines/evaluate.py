"""B1, script 4 of 4: vLLM answers the held-out questions with the merged model.

python -m benchmarks.baselines.evaluate FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.baselines.engine import judged, open_llm, vllm_params
from benchmarks.baselines.task import MERGED, evaluation_settings, noted, read_task
from star_engine.sampling.rationales import Route


def main() -> None:
    task = read_task(Path(sys.argv[1]))
    llm = open_llm(task, task.folder / MERGED)
    with noted(task, "evaluate") as facts:
        prompts = [task.evaluation_prompt(example) for example in task.held_out]
        outputs = llm.generate(prompts, vllm_params(llm, evaluation_settings(task)), use_tqdm=False)
        answers = [
            judged(task, example, Route.GENERATED, output.outputs[0])
            for example, output in zip(task.held_out, outputs, strict=True)
        ]
        facts["accuracy"] = sum(one.verdict == "correct" for one in answers) / len(answers)


if __name__ == "__main__":
    main()
