"""The CPU sampler against transformers' own continuous batching: same model, same prompts, greedy.

python -m benchmarks.continuous_batching [--model FOLDER] [--rows 64] [--tokens 32]
"""

from __future__ import annotations

import argparse
import time
from collections import deque
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from star_engine.gpu.transformers_sampler import TransformersSampler
from star_engine.protocols import SampleRequest, SamplingParams


def own(model: Path, prompts: list[str], tokens: int) -> tuple[float, list[str]]:
    """Seconds, without loading, and the texts in the order of the prompts."""
    sampler = TransformersSampler(model)
    queue = deque(SampleRequest(str(number), prompt) for number, prompt in enumerate(prompts))
    started = time.perf_counter()
    done = {one.key: one.text for one in sampler.stream(queue, SamplingParams(max_tokens=tokens))}
    seconds = time.perf_counter() - started
    sampler.close()
    return seconds, [done[str(number)] for number in range(len(prompts))]


def theirs(folder: Path, prompts: list[str], tokens: int) -> tuple[float, list[str]]:
    """The same by `generate_batch`, which runs a ContinuousBatchingManager."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    settings = GenerationConfig(
        max_new_tokens=tokens, do_sample=False, eos_token_id=tokenizer.eos_token_id, pad_token_id=0
    )
    started = time.perf_counter()
    done = model.generate_batch(
        inputs=tokenizer(prompts)["input_ids"], generation_config=settings, progress_bar=False
    )
    seconds = time.perf_counter() - started
    texts = {tuple(one.prompt_ids): one.generated_tokens for one in done.values()}
    return seconds, [
        tokenizer.decode(texts[tuple(ids)], skip_special_tokens=True)
        for ids in tokenizer(prompts)["input_ids"]
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, default=Path("examples/carry/model"))
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=32)
    arguments = parser.parse_args()
    prompts = [f"Input:\n{number} + {3 * number}\nTarget:\n" for number in range(100, 100 + arguments.rows)]
    print("| sampler | seconds | texts equal to ours |\n| --- | --- | --- |")
    seconds, expected = own(arguments.model, prompts, arguments.tokens)
    print(f"| star_engine.gpu.TransformersSampler | {seconds:.1f} | |", flush=True)
    seconds, texts = theirs(arguments.model, prompts, arguments.tokens)
    equal = sum(text == other for text, other in zip(texts, expected, strict=True))
    print(f"| transformers.ContinuousBatchingManager | {seconds:.1f} | {equal} of {len(prompts)} |")


if __name__ == "__main__":
    main()
