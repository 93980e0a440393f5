"""Checks of the machine, and of training and sampling with a model of 0.5B."""

from __future__ import annotations

import importlib.util
import os
import platform
import subprocess
import sys
import time
from collections import deque
from contextlib import closing
from importlib.metadata import PackageNotFoundError, version
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu_check.workbench import PREFIX_TOKENS, Skipped, Workbench, gradients, settings, tokens_of
from star_engine.adapters.layout import judge_adapter
from star_engine.gpu.training.lora_trainer import LoraTrainer
from star_engine.gpu.transformers_sampler import TransformersSampler
from star_engine.protocols import BadAdapter, SampleRequest, SamplingParams, TrainingJob, TrainingText
from worker.health import DRIVER

ROOT = Path(__file__).parents[2]
KNOWN_TB_S = {"H100": 3.35, "H200": 4.8}  # of the SXM cards, as NVIDIA states them
ENOUGH_TFLOPS = 700.0  # of products in bfloat16, on those
PACKAGES = ("torch", "transformers", "peft", "accelerate", "trl", "pydantic", "vllm")
OWN_TESTS = "batch_plan or shared_prefix or packed_rows or lora_trainer or parallel or sharded"


def facts(bench: Workbench) -> None:
    """The machine, versions, and which functions these versions have."""
    bench.facts |= {"python": platform.python_version(), "cpus": os.cpu_count()}
    bench.facts["packages"] = {name: _version(name) for name in PACKAGES}
    bench.facts["has"] = {
        name: importlib.util.find_spec(module) is not None and hasattr(importlib.import_module(module), name)
        for module, name in (
            ("torch.nn.attention.varlen", "varlen_attn"),
            ("torch.nn.functional", "linear_cross_entropy"),
            ("transformers.modeling_layers", "GradientCheckpointingLayer"),
            ("torch.distributed.fsdp", "fully_shard"),
        )
        if _importable(module)
    }
    if not bench.on_cuda:
        return
    free, total = torch.cuda.mem_get_info()
    bench.facts |= {"gpu": torch.cuda.get_device_name(), "gib": round(total / 2**30, 1)}
    bench.facts["free_gib"] = round(free / 2**30, 1)
    wanted = "driver_version,clocks.max.sm,clocks.sm,temperature.gpu,ecc.errors.uncorrected.volatile.total"
    query = f"--query-gpu={wanted}"
    said = subprocess.run(
        ["nvidia-smi", query, "--format=csv,noheader"], capture_output=True, text=True, check=True
    )
    bench.facts["nvidia_smi"] = said.stdout.strip()
    driver = int(said.stdout.split(".")[0])
    bench.require(driver >= DRIVER, f"driver {driver} is {DRIVER} or newer")


def hardware(bench: Workbench) -> None:
    """Products in bfloat16, copies, and how many kernels are launched a second."""
    size = bench.size(8192, 256)
    one, other = (torch.randn(size, size, device=bench.device).bfloat16() for _ in range(2))
    seconds = bench.timed(lambda: [one @ other for _ in range(4)]) / 4
    bench.facts["tflops"] = round(2 * size**3 / seconds / 1e12, 2)
    source = torch.empty(bench.size(1 << 30, 1 << 20), dtype=torch.uint8, device=bench.device)
    target = torch.empty_like(source)
    seconds = bench.timed(lambda: target.copy_(source))
    bench.facts["tb_s"] = round(2 * source.numel() / seconds / 1e12, 3)
    tiny = torch.zeros(1, device=bench.device)
    launches = bench.size(10_000, 1000)
    seconds = bench.timed(lambda: [tiny.add_(1) for _ in range(launches)])
    bench.facts["launches_s"] = round(launches / seconds)
    if not bench.on_cuda:
        return
    name = torch.cuda.get_device_name()
    known = next((value for key, value in KNOWN_TB_S.items() if key in name), None)
    if known is None:
        return
    bench.require(bench.facts["tflops"] >= ENOUGH_TFLOPS, f"at least {ENOUGH_TFLOPS} TFLOP/s")
    bench.require(bench.facts["tb_s"] >= 0.75 * known, f"at least 0.75 of the {known} TB/s of the card")


def own_tests(bench: Workbench) -> None:
    """The engine's tests that need no vLLM, on the CPUs, with this machine's versions."""
    if not _importable("pytest"):
        raise Skipped("pytest is not installed")
    folder = "tests/star_engine/gpu"
    options = [
        "-q",
        "-p",
        "no:cacheprovider",
        "-o",
        "addopts=",
        "--import-mode=importlib",
        "--confcutdir",
        folder,
    ]
    chosen = [f"{folder}/training/test_batch_plan.py"] if bench.tiny else [folder, "-k", OWN_TESTS]
    command = [sys.executable, "-m", "pytest", *options, *chosen]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    bench.facts["last_lines"] = said.stdout.strip().splitlines()[-8:]
    bench.require(said.returncode == 0, "all pass")


def precision(bench: Workbench) -> None:
    """One step in float32 against bfloat16, with an adapter that acts."""
    rows = bench.rows(bench.size(8, 4))
    found = {}
    for dtype in (torch.float32, torch.bfloat16):
        base = bench.build("0.5B", dtype)
        with bench.adapted(base, weights=True) as model:
            loss = bench.run(model).learn(rows, 4096).loss
            found[dtype] = loss, gradients(model)
        del base
        bench.free()
    (exact, one), (rounded, other) = found.values()
    cosine = float(torch.nn.functional.cosine_similarity(one, other, dim=0))
    bench.facts |= {"float32": exact, "bfloat16": rounded, "cosine": cosine}
    bench.require(abs(exact - rounded) <= 5e-3 * exact, "losses within 5e-3")
    bench.require(cosine >= 0.99, "cosine of the gradients 0.99 or more")


def steps(bench: Workbench) -> None:
    """Tokens a second with few, many and prefixed rows; kernels a step."""
    base = bench.build("0.5B")
    cases = {
        "8": bench.rows(8),
        "64": bench.rows(bench.size(64, 12)),
        "16 behind a prefix": bench.rows(bench.size(16, 4), bench.size(PREFIX_TOKENS, 80)),
    }
    with bench.adapted(base) as model:
        for name, rows in cases.items():
            run = bench.run(model)
            seconds = bench.timed(lambda run=run, rows=rows: run.learn(rows, 16_384))  # type: ignore[misc]
            bench.facts[f"tokens_s of {name}"] = round(tokens_of(rows) / seconds)
        if bench.on_cuda:
            kinds = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
            with torch.profiler.profile(activities=kinds) as profile:
                bench.run(model).learn(cases["8"], 16_384)
            launches = sum(one.count for one in profile.key_averages() if "LaunchKernel" in one.key)
            bench.facts["launches of 8"] = launches
            bench.require(bench.facts["tokens_s of 8"] >= 6000, "8 rows: 6,000 tokens/s or more")
            bench.require(bench.facts["tokens_s of 64"] >= 20_000, "64 rows: 20,000 tokens/s or more")


def resume(bench: Workbench) -> None:
    """Six steps, and the last three again from the checkpoint of the third."""
    trainer = LoraTrainer(bench.saved("0.5B"), device=bench.device)
    whole = _train(bench, trainer, "whole", 6, checkpoint_every=3)
    halves = _train(bench, trainer, "halves", 6, checkpoint_every=3, stop_after=4)
    halves = halves[:3] + _train(bench, trainer, "halves", 6, checkpoint_every=3)
    bench.facts |= {"whole": whole, "resumed": halves}
    apart = max(abs(a - b) / a for a, b in zip(whole, halves, strict=True))
    bench.require(apart <= 1e-3, "losses within 1e-3, relative")


def learn(bench: Workbench) -> None:
    """Eight rows learned by heart; the adapter is the next check's."""
    trainer = LoraTrainer(bench.saved("0.5B"), device=bench.device)
    losses = _train(bench, trainer, "learned", bench.size(80, 30), texts=bench.texts(8))
    tens = [sum(losses[n : n + 10]) / 10 for n in range(0, len(losses), 10)]
    bench.facts["mean loss of ten steps"] = [round(one, 4) for one in tens]
    bench.require(all(b < a for a, b in pairwise(tens)), "falls from ten to ten steps")
    bench.require(bench.tiny or tens[-1] < 0.7 * tens[0], "below 0.7 of the first ten steps' in the end")


def adapter(bench: Workbench) -> None:
    """The adapter that was learned, in PEFT and in the sampler; a zeroed one is refused."""
    folder = bench.folder / "learned" / "adapter"
    if not folder.is_dir():
        raise Skipped("check `learn` has made no adapter")
    base = bench.saved("0.5B")
    prompts = [text.prompt for text in bench.texts(4)]
    probe = LoraTrainer(base, device=bench.device).probe(folder, prompts, 8)
    bench.free()
    with closing(TransformersSampler(base, device=bench.device)) as sampler:
        sampler.use(folder)
        texts = _continue(sampler, prompts, 8)
        verified = judge_adapter(probe, texts)
        bench.facts |= {"agreement": verified.agreement, "delta": probe.max_logit_delta}
        sampler.use(None)
        try:
            judge_adapter(probe, _continue(sampler, prompts, 8))
        except BadAdapter as refusal:
            bench.facts["without the adapter"] = str(refusal)
        else:
            bench.require(probe.texts == probe.base_texts, "texts of the base model are refused")
    bench.require(verified.agreement >= 0.9, "agreement 0.9 or more")


def sampler(bench: Workbench) -> None:
    """Rows sampled together against one by one."""
    prompts = [text.prompt for text in bench.texts(bench.size(64, 6))]
    tokens = bench.size(64, 8)
    with closing(TransformersSampler(bench.saved("0.5B"), device=bench.device)) as one:
        began = time.perf_counter()
        together = _continue(one, prompts, tokens)
        bench.facts["tokens_s"] = round(len(prompts) * tokens / (time.perf_counter() - began))
        some = prompts[: bench.size(16, 6)]
        alone = [_continue(one, [prompt], tokens)[0] for prompt in some]
    pairs = list(zip(alone, together, strict=False))
    equal = sum(_shared(a, b) for a, b in pairs) / max(1, sum(len(a) for a, _ in pairs))
    bench.facts["equal"] = round(equal, 4)
    bench.require(equal >= 0.95, "0.95 or more of the characters before the first that differs")


def _train(
    bench: Workbench,
    trainer: LoraTrainer,
    name: str,
    count: int,
    *,
    texts: list[TrainingText] | None = None,
    stop_after: int | None = None,
    **changes: Any,
) -> list[float]:
    out = bench.folder / name
    job = TrainingJob(
        tuple(texts or bench.texts(16)),
        settings(count, 8, **changes),
        count,
        0,
        out / "adapter",
        out / "points",
    )
    losses = []
    with closing(trainer.train(job)) as run:  # type: ignore[type-var]
        for progress in run:
            losses.append(progress.loss)
            if progress.step == stop_after:
                break
    return losses


def _continue(sampler: TransformersSampler, prompts: list[str], tokens: int) -> list[str]:
    asked = deque(SampleRequest(str(n), prompt) for n, prompt in enumerate(prompts))
    found = {one.key: one.text for one in sampler.stream(asked, SamplingParams(max_tokens=tokens))}
    return [found[str(n)] for n in range(len(prompts))]


def _shared(one: str, other: str) -> int:
    return next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), len(one))


def _importable(module: str) -> bool:
    try:
        importlib.import_module(module)
    except ImportError:
        return False
    return True


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
