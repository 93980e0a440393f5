"""vLLM as the scripts use it. They get the engine settings that the service has found to be best, so that the
race is about the glue around an engine and not about its settings."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.baselines.task import Task
from star_engine.gpu.vllm_settings import engine_arguments
from star_engine.protocols import SamplingParams
from star_engine.sampling.rationales import Rationale, Route
from star_engine.tasks.examples import Example

LORA_RANK = 16  # of the adapters that the scripts train
BLOCK, ROWS = 32, 64  # of star_engine/gpu/vllm_sampler.py


def open_llm(task: Task, model: Path) -> Any:
    """Start vLLM. On CPU: float32, in this process, all cores, as the service has it."""
    environment = {
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_LOGGING_LEVEL": "WARNING",
        "OMP_WAIT_POLICY": "passive",
    }
    options: dict[str, Any] = {"gpu_memory_utilization": 0.9, "seed": 0}
    if task.device != "cpu":
        # The service serves adapters beside the base model, which costs an engine a share of its speed: the
        # scripts, which merge none either, are given the same engine.
        options |= engine_arguments(False, LORA_RANK)
    if task.device == "cpu":
        environment |= {
            "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
            "VLLM_CPU_KVCACHE_SPACE": "2",
            "VLLM_CPU_OMP_THREADS_BIND": "nobind",
            "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS") or str(len(os.sched_getaffinity(0))),
        }
        options |= {"dtype": "float32", "block_size": BLOCK, "max_num_seqs": ROWS, "enforce_eager": True}
    os.environ.update(environment)
    from vllm import LLM

    return LLM(model=str(model), **options)


def vllm_params(llm: Any, params: SamplingParams) -> Any:
    from vllm import SamplingParams as VllmParams

    return VllmParams(
        temperature=params.temperature,
        top_p=params.top_p,
        top_k=params.top_k,
        max_tokens=params.max_tokens,
        stop=list(params.stop),
        stop_token_ids=[llm.get_tokenizer().eos_token_id],
    )


def sample(task: Task, llm: Any, examples: Sequence[Example], route: Route) -> list[Rationale]:
    """One try at each example, all in one call."""
    prompts = [task.prompt(example, route) for example in examples]
    outputs = llm.generate(prompts, vllm_params(llm, task.params), use_tqdm=False)
    return [
        judged(task, example, route, output.outputs[0])
        for example, output in zip(examples, outputs, strict=True)
    ]


def judged(task: Task, example: Example, route: Route, output: Any) -> Rationale:
    finish = "length" if output.finish_reason == "length" else "stop"
    return task.judged(example, route, output.text, len(output.token_ids), finish)
