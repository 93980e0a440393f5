"""Checks of the service with vLLM: killed processes, a trainer on the same GPU, cost, a whole iteration."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import psutil
import torch

from benchmarks import iteration_figures as figures
from benchmarks.gpu_check.engine import NEAR, RANKS, SHARE, adapter, difference, prompts, sampler, write
from benchmarks.gpu_check.processes import alive, free_gib, start_worker
from benchmarks.gpu_check.workbench import Skipped, Workbench, settings
from examples.addition.generate import write_task
from examples.smollm2.convert import MODEL_FOLDER
from star_engine.protocols import SampleRequest, SamplingParams, ScoreRequest, TrainingJob

if TYPE_CHECKING:
    from worker.gpu.process import GpuProcess, GpuSpec

RANK = 16  # of the adapters that `settings` trains
GONE_SECONDS = 10.0
PUPIL = "examples/addition/model"  # 0.87 M parameters that solve sums; random weights learn from nothing

Texts = list[tuple[str, int]]
"""What was written for each prompt, in order, and its number of tokens."""
Writes = Callable[[Any, list[str], SamplingParams], Texts]


def spec(bench: Workbench, rank: int = RANK, **options: Any) -> GpuSpec:
    """Of a GPU process with vLLM: adapters beside the base model, the engine in a process of its own."""
    try:
        import vllm  # noqa: F401

        from worker.gpu.process import GpuSpec
    except ImportError as missing:
        raise Skipped(f"{missing.name} is not installed") from missing
    return GpuSpec(
        base_model=bench.saved("0.5B"),
        sampler="vllm",
        device=bench.device,
        max_length=bench.size(4096, 512),
        lora_rank=rank,
        options={"beside": True, "own_process": True, "kv_cache_gib": 1, **options},
    )


@contextmanager
def _gpu_process(bench: Workbench, name: str, rank: int = RANK, **options: Any) -> Iterator[GpuProcess]:
    given = spec(bench, rank, **options)
    from worker.gpu.process import GpuProcess

    gpu = GpuProcess(given, bench.folder / f"{name}.log")
    try:
        yield gpu
    finally:
        gpu.kill()


def service_cost(bench: Workbench) -> None:
    """Texts by the GPU process against `generate` of vLLM's own LLM: the same engine, the same adapter."""
    counts = (256, 512, 1024, 2048) if not bench.tiny else (8,)
    params, acts = SamplingParams(max_tokens=bench.size(128, 24)), adapter(bench, 16)
    engine = sampler(bench)
    engine.use(acts)
    bare = [_measured(_generated, engine, prompts(bench, count), params) for count in counts]
    engine.close()
    bench.engine = None
    bench.free()
    with _gpu_process(bench, "cost", max(RANKS), gpu_memory_utilization=SHARE) as gpu:
        gpu.use(acts)
        ours = [_measured(_streamed, gpu, prompts(bench, count), params) for count in counts]
    shares = []
    for count, (bare_speed, bare_texts), (speed, texts) in zip(counts, bare, ours, strict=True):
        same = sum(a == b for a, b in zip(bare_texts, texts, strict=True)) / count
        shares.append(speed / bare_speed)
        bench.facts[f"{count} rows"] = {
            "bare_tokens_s": round(bare_speed),
            "service_tokens_s": round(speed),
            "share": round(shares[-1], 3),
            "same_texts": round(same, 3),
        }
        bench.require(bench.on_cuda or same >= 0.9, "both write the same")  # bfloat16 has near ties
    bench.require(not bench.on_cuda or min(shares) >= 0.95, "the service at 0.95 of the bare engine or more")


def _generated(engine: Any, asked: list[str], params: SamplingParams) -> Texts:
    own = engine._sampling(SampleRequest("0", ""), params)  # noqa: SLF001
    outputs = engine._llm.generate(asked, own, use_tqdm=False, lora_request=engine._lora)  # noqa: SLF001
    return [(output.outputs[0].text, len(output.outputs[0].token_ids)) for output in outputs]


def _streamed(gpu: GpuProcess, asked: list[str], params: SamplingParams) -> Texts:
    queue = deque(SampleRequest(str(n), prompt) for n, prompt in enumerate(asked))
    done = {one.key: (one.text, one.tokens) for one in gpu.stream(queue, params)}
    return [done[str(n)] for n in range(len(asked))]


def _measured(
    writes: Writes, source: Any, asked: list[str], params: SamplingParams
) -> tuple[float, list[str]]:
    """Tokens a second and the texts of the second of two turns, which finds the prompts cached."""
    writes(source, asked, params)
    began = time.perf_counter()
    texts = writes(source, asked, params)
    seconds = time.perf_counter() - began
    return sum(tokens for _, tokens in texts) / seconds, [text for text, _ in texts]


def iterations(bench: Workbench) -> None:
    """Three times: train, serve the adapter, write; trainer and vLLM on one GPU, which must hold both."""
    with _gpu_process(bench, "iterations") as gpu:
        iterate(bench, gpu)


def iterate(bench: Workbench, gpu: Any) -> None:
    """The iterations, by whatever is a Sampler and a Trainer."""
    rows, steps = tuple(bench.texts(bench.size(64, 8))), bench.size(20, 10)
    asked = [ScoreRequest(str(n), row, eos=False) for n, row in enumerate(rows[:8])]
    write(gpu, [one.text.prompt for one in asked])  # as in a job the sampler is there first
    trained = [gpu.score_trained(None, asked)]  # by the base model and by each adapter, in PEFT
    found = bench.facts["iterations"] = list[dict[str, Any]]()
    limit = NEAR["cuda" if bench.on_cuda else "cpu"]
    for number in range(3):
        out = bench.folder / f"iteration-{number}"
        training = settings(steps, len(rows))
        job = TrainingJob(rows, training, steps, number, out / "adapter", out / "points")
        progress = list(gpu.train(job))
        began = time.perf_counter()
        gpu.use(job.out)
        texts = write(gpu, [one.text.prompt for one in asked])
        seconds = time.perf_counter() - began
        trained.append(gpu.score_trained(job.out, asked))
        served = sorted(gpu.score(asked), key=lambda score: int(score.key))
        *others, apart = (difference(served, scores) for scores in trained)
        found.append(
            {
                "loss": [round(one.loss, 4) for one in (progress[0], progress[-1])],
                "use_and_write_s": round(seconds, 2),
                "apart_nats": apart,
                "apart_from_others_nats": others,
                "vllm_share": progress[-1].sampler_share,
                "memory_used": _memory_used(bench),
            }
        )
        bench.require(len(texts) == len(asked), "every prompt is continued")
        bench.require(progress[-1].loss < progress[0].loss, "the loss falls")
        bench.require(apart <= limit, f"the adapter within {limit} nats a token of PEFT")
        bench.require(apart < min(others), "nearer to this iteration's adapter than to any before")
        both = not bench.on_cuda or progress[-1].sampler_share is not None
        bench.require(both, "vLLM stays on the GPU while the adapter is trained")


def deaths(bench: Workbench) -> None:
    """kill -9 of the worker, and during a call of vLLM's engine and of the GPU process: nothing is left."""
    given = spec(bench)
    from worker.gpu.process import GpuDied, GpuFailed

    free = free_gib(bench)
    worker, child = start_worker(given, bench.folder / "worker.log")
    family = _family(child)
    worker.kill()
    worker.wait()
    _require_gone(bench, "worker", family, time.perf_counter(), free)
    for victim in ("engine", "gpu_process"):
        with _gpu_process(bench, victim) as gpu:
            write(gpu, ["12+13="])
            family = _family(gpu.pid)
            killed = gpu.pid if victim == "gpu_process" else _engine(gpu.pid)
            short, *long = (SampleRequest(str(n), "12+13=") for n in range(9))
            texts = gpu.stream(deque([replace(short, max_tokens=1), *long]), SamplingParams(max_tokens=400))
            next(texts)
            os.kill(killed, signal.SIGKILL)
            began = time.perf_counter()
            try:
                list(texts)
            except (GpuDied, GpuFailed) as died:
                bench.facts[f"{victim}_said"] = f"{type(died).__name__}: {died}"[:160]
            bench.require(f"{victim}_said" in bench.facts, f"the running call fails when the {victim} dies")
            _require_gone(bench, victim, family, began, free)


def _family(pid: int) -> set[int]:
    """A process and all below it."""
    return {pid, *(one.pid for one in psutil.Process(pid).children(recursive=True))}


def _engine(pid: int) -> int:
    """The process of vLLM's engine, below a GPU process; the other one is Python's resource tracker."""
    below = psutil.Process(pid).children()
    [engine] = [one.pid for one in below if "resource_tracker" not in " ".join(one.cmdline())]
    return engine


def _require_gone(bench: Workbench, victim: str, family: set[int], began: float, free: float | None) -> None:
    """free: GiB of the GPU before any of them began; None: there is none."""

    def left() -> bool:
        held = free is not None and (free_gib(bench) or 0) < free - 0.5
        return held or any(map(alive, family))

    while left() and time.perf_counter() - began < GONE_SECONDS:
        time.sleep(0.05)
    bench.facts[f"{victim}_gone_s"] = round(time.perf_counter() - began, 2)
    bench.require(not left(), f"{GONE_SECONDS:.0f} s after the death of the {victim} nothing is left")


def race(bench: Workbench) -> None:
    """benchmarks.iteration: one iteration by the platform, and by the scripts that a user would glue.

    With SmolLM2 where `python -m examples.smollm2.convert` has made it, else with the addition's own model.
    """
    spec(bench)
    keep, page = bench.folder / "race" / "rounds.jsonl", bench.folder / "race" / "page.md"
    command = [sys.executable, "-m", "benchmarks.iteration", "--rounds", "1", "--device", bench.device]
    command += ["--keep", str(keep), "--out", str(page), "--arms", "service", "B0"]
    command += [] if bench.tiny else ["limit", "B1"]
    if MODEL_FOLDER.is_dir() and not bench.tiny:
        command += ["--examples", "2048", "--held-out", "512"]
    else:
        data = bench.folder / "addition"
        write_task(data, train=bench.size(2048, 24), validation=bench.size(512, 8))
        command += ["--model", PUPIL, "--data", str(data), "--max-tokens", "96"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    bench.require(done.returncode == 0, f"every arm ends: {done.stderr[-400:]}")
    found = json.loads(keep.read_text())
    warm = found["service"]["warm"]
    equal, count = figures.same_texts(warm, found["B0"])
    bench.facts |= _goals(page.read_text())
    bench.facts |= {"tries": count, "same_texts": equal, "accuracy": warm["accuracy"]}
    bench.facts["seconds"] = {
        "ready": round(found["service"]["ready"], 1),
        **{kind: round(found["service"][kind]["seconds"], 1) for kind in ("cold", "warm")},
        **{arm: round(found[arm]["seconds"], 1) for arm in ("B0", "B1") if arm in found},
    }
    same = bench.on_cuda or equal >= 0.9 * count  # bfloat16 has near ties
    bench.require(same, "the platform and the bare engine write the same")


def _goals(page: str) -> dict[str, str]:
    """What was measured of each metric in the document's table of goals."""
    table = page.partition("## Goals")[2].partition("\n## ")[0]
    rows = [line.split("|")[1:3] for line in table.splitlines() if line.startswith("|")][2:]
    return {metric.strip(): measured.strip() for metric, measured in rows}


def _memory_used(bench: Workbench) -> float | None:
    """The share of the GPU's memory that all processes hold."""
    if not bench.on_cuda:
        return None
    free, total = torch.cuda.mem_get_info()
    return round(1 - free / total, 3)
