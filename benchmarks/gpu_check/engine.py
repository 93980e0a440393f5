"""Checks of vLLM as the service drives it: adapters beside the base model, the engine in its own process.

On a CPU vLLM's LoRA and its kernels are others than on CUDA; what runs there is this project's side of it.
"""

from __future__ import annotations

import json
import math
import os
import random
import sys
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from benchmarks.gpu_check.workbench import LETTERS, Skipped, Workbench
from star_engine.adapters.layout import CONFIG, WEIGHTS
from star_engine.gpu.lora_merge import PREFIX, weight_shapes
from star_engine.gpu.training.lora_trainer import LoraTrainer
from star_engine.protocols import (
    BadAdapter,
    Completion,
    SampleRequest,
    SamplingParams,
    Score,
    ScoreRequest,
    TrainingText,
)

RANKS = (8, 16, 128)
OFFLINE = "GPU_CHECK_NO_NETWORK"
LOCAL = ("127.", "::1", "localhost")
# Of an adapter: it must outweigh the embedding, which alone repeats the last token where weights are random.
STRENGTH = 2.0
SHARE = 0.45  # of a GPU for vLLM: some of the checks train on it as well
NEAR = {"cuda": 0.05, "cpu": 2e-3}  # nats a token, between vLLM and PEFT: bfloat16, float32


def no_network() -> None:
    """From now on Python's sockets reach this machine alone, here and in the processes that vLLM makes."""

    def refuse(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "socket.connect" and isinstance(arguments[1], tuple):
            host = str(arguments[1][0])
            if not host.startswith(LOCAL):
                raise OSError(f"no network: {host} was asked for")

    os.environ |= {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", OFFLINE: "1"}
    sys.addaudithook(refuse)


def sampler(bench: Workbench) -> Any:
    """The group's engine, started when it is first asked for."""
    if bench.engine is None:
        try:
            from star_engine.gpu.vllm_sampler import VllmSampler

            bench.engine = VllmSampler(
                bench.saved("0.5B"),
                device=bench.device,
                max_length=bench.size(4096, 512),
                max_lora_rank=max(RANKS),
                gpu_memory_utilization=SHARE,
                kv_cache_gib=1,
                beside=True,
                own_process=True,
            )
        except ImportError as missing:
            raise Skipped(f"{missing.name} is not installed") from missing
    return bench.engine


def start(bench: Workbench) -> None:
    """vLLM starts and writes, without a network."""
    if not bench.tiny:
        bench.saved("0.5B")
    began = time.perf_counter()
    engine = sampler(bench)
    bench.facts["ready_s"] = round(time.perf_counter() - began, 1)
    texts = write(engine, prompts(bench, 4))
    bench.facts["engine"] = type(engine._engine.engine_core).__name__  # noqa: SLF001
    bench.require(all(texts.values()), "every prompt is continued")
    bench.require(not bench.on_cuda or bench.facts["ready_s"] < 150, "ready within 150 s, caches cold")


def adapters(bench: Workbench) -> None:
    """Adapters of rank 8, 16 and 128 there and back; what does not fit is refused, and the engine lives."""
    engine, asked = sampler(bench), prompts(bench, 16)
    folders = [adapter(bench, rank) for rank in RANKS]
    said, seconds = [], []
    for folder in (None, *folders, folders[0], None):
        began = time.perf_counter()
        engine.use(folder)
        seconds.append(time.perf_counter() - began)
        said.append(write(engine, asked))
    base, *by_rank, again, back = said
    bench.facts |= {"swap_s": round(max(seconds), 2), "same_again": alike(by_rank[0], again)}
    bench.facts["same_base"] = alike(base, back)
    bench.require(all(alike(base, texts) < 0.9 for texts in by_rank), "each adapter changes what is written")
    bench.require(min(bench.facts["same_again"], bench.facts["same_base"]) >= 0.9, "there and back")
    bench.require(not bench.on_cuda or bench.facts["swap_s"] < 1.5, "an adapter is swapped in within 1.5 s")
    for name, bad in (("rank", adapter(bench, 256)), ("foreign", adapter(bench, 8, layer="mlp.other_proj"))):
        began = time.perf_counter()
        try:
            engine.use(bad)
        except BadAdapter as refused:
            bench.facts[f"{name}_refused"] = str(refused)[:120]
        bench.facts[f"{name}_s"] = round(time.perf_counter() - began, 2)
        bench.require(f"{name}_refused" in bench.facts, f"a bad adapter ({name}) is a BadAdapter")
    engine.use(None)
    bench.require(alike(base, write(engine, asked)) >= 0.9, "the engine lives on")


def prefix_cache(bench: Workbench) -> None:
    """One adapter's keys and values are not served to another, nor to the base model."""
    engine = sampler(bench)
    asked = [letters(random.Random(7), bench.size(600, 300))]
    one, other = adapter(bench, 8), adapter(bench, 16)
    cached: dict[str, int] = {}
    texts: dict[str, str] = {}
    for name, folder in (("one", one), ("one again", one), ("other", other), ("base", None)):
        engine.use(folder)
        [done] = engine.stream(deque([SampleRequest("0", asked[0])]), SamplingParams(max_tokens=24))
        cached[name], texts[name] = done.cached_tokens or 0, done.text
    bench.facts["cached"] = cached
    bench.require(cached["one again"] > 0, "the same adapter reads its own prefix")
    bench.require(cached["one"] == cached["other"] == cached["base"] == 0, "another reads none of it")
    bench.require(texts["one"] == texts["one again"], "with its prefix cached it writes the same")
    bench.require(len(set(texts.values())) == 3, "each writes its own text")


def log_probabilities(bench: Workbench) -> None:
    """vLLM finds texts as likely as PEFT does, with an adapter and without."""
    engine, folder = sampler(bench), adapter(bench, 16)
    rng = random.Random(3)
    asked = [
        ScoreRequest(str(n), TrainingText(letters(rng, 40), letters(rng, 40)), eos=False)
        for n in range(bench.size(64, 6))
    ]
    trainer = LoraTrainer(bench.saved("0.5B"), device=bench.device)
    apart, moved = {}, 0.0
    served: dict[Path | None, list[Score]] = {}
    for path in (None, folder):
        engine.use(path)
        served[path] = sorted(engine.score(asked), key=lambda score: int(score.key))
        apart["base" if path is None else "adapter"] = difference(
            served[path], trainer.score_trained(path, asked)
        )
    moved = difference(served[None], served[folder])
    bench.facts |= {"apart_nats": apart, "adapter_moves_nats": moved}
    limit = NEAR["cuda" if bench.on_cuda else "cpu"]
    bench.require(max(apart.values()) <= limit, f"within {limit} nats a token of PEFT")
    bench.require(moved > 10 * limit or moved > 0.5, "the adapter moves them by more")


def left_early(bench: Workbench) -> None:
    """What still runs when a caller leaves does not come back, and gives its room to the next call."""
    engine = sampler(bench)
    engine.use(None)
    count = bench.size(1024, 32)
    asked = deque(SampleRequest(f"left-{n}", text) for n, text in enumerate(prompts(bench, count)))
    stream = engine.stream(asked, SamplingParams(max_tokens=bench.size(1024, 64)))
    next(stream)
    began = time.perf_counter()
    stream.close()
    alone = deque([SampleRequest("next", "12+13=")])
    next_keys = [done.key for done in engine.stream(alone, SamplingParams(max_tokens=8))]
    bench.facts |= {"running": count, "next_s": round(time.perf_counter() - began, 2)}
    bench.require(next_keys == ["next"], "the next call brings its own text alone")
    bench.require(not bench.on_cuda or bench.facts["next_s"] < 2, "from leaving to the next text 2 s")


def seeds(bench: Workbench) -> None:
    """A seed draws the same text again, and costs next to nothing."""
    engine = sampler(bench)
    engine.use(None)
    asked = prompts(bench, bench.size(256, 8))
    warm = SamplingParams(temperature=0.7, max_tokens=bench.size(128, 16))
    greedy = SamplingParams(max_tokens=bench.size(128, 16))
    first, again = (write(engine, asked, warm, seeded=True) for _ in range(2))
    drawn = bench.timed(lambda: write(engine, asked, warm, seeded=True), 1)
    plain = bench.timed(lambda: write(engine, asked, greedy), 1)
    bench.facts |= {"seeded_s": round(drawn, 3), "greedy_s": round(plain, 3), "same": alike(first, again)}
    bench.require(bench.facts["same"] >= 0.98, "the same texts for the same seeds")
    bench.require(not bench.on_cuda or drawn <= 1.15 * plain, "seeded sampling within 15 % of greedy")


def write(
    engine: Any,
    asked: Sequence[str],
    params: SamplingParams = SamplingParams(max_tokens=24),
    *,
    seeded: bool = False,
) -> dict[str, str]:
    """What the engine writes for each prompt, by its number."""
    queue = deque(SampleRequest(str(n), prompt, n if seeded else None) for n, prompt in enumerate(asked))
    done: list[Completion] = list(engine.stream(queue, params))
    return {one.key: one.text for one in done}


def alike(one: dict[str, str], other: dict[str, str]) -> float:
    """The share of prompts with the same text."""
    return sum(text == other[key] for key, text in one.items()) / len(one)


def difference(one: Sequence[Score], other: Sequence[Score]) -> float:
    """Mean absolute difference, in nats a token."""
    apart = [
        abs(a - b)
        for ours, theirs in zip(one, other, strict=True)
        for a, b in zip(ours.logprobs, theirs.logprobs, strict=True)
    ]
    return round(sum(apart) / len(apart), 5)


def prompts(bench: Workbench, count: int) -> list[str]:
    """Prompts of unlike lengths behind one beginning, as those of a prompt set are."""
    rng = random.Random(count)
    start_of_all = letters(random.Random(0), bench.size(400, 60))
    return [f"{start_of_all}{letters(rng, rng.randint(10, 40))}=" for _ in range(count)]


def letters(rng: random.Random, count: int) -> str:
    return "".join(rng.choice(LETTERS) for _ in range(count))


def adapter(bench: Workbench, rank: int, layer: str | None = None) -> Path:
    """A random adapter of this rank that turns texts. layer: of layer 0 alone, under this name."""
    base = bench.saved("0.5B")
    folder = bench.folder / f"adapter-{rank}-{layer or 'all'}"
    if folder.exists():
        return folder
    source = torch.Generator().manual_seed(rank)
    tensors: dict[str, torch.Tensor] = {}
    for name, shape in weight_shapes(base).items():
        stem = name.removesuffix(".weight")
        if not stem.endswith("_proj") or (layer is not None and ".0." not in stem):
            continue
        if layer is not None:
            stem = f"model.layers.0.{layer}"
        a = torch.randn((rank, shape[1]), generator=source) / math.sqrt(shape[1])
        b = torch.randn((shape[0], rank), generator=source) * STRENGTH / math.sqrt(rank)
        tensors |= {f"{PREFIX}{stem}.lora_A.weight": a, f"{PREFIX}{stem}.lora_B.weight": b}
    folder.mkdir()
    save_file(tensors, folder / WEIGHTS)
    targets = sorted({name.split(".")[-3] for name in tensors})
    config = {"peft_type": "LORA", "r": rank, "lora_alpha": rank, "target_modules": targets, "bias": "none"}
    (folder / CONFIG).write_text(json.dumps(config))
    return folder
