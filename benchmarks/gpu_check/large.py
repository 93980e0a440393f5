"""Checks of training with models of 7B and 8B, and against TRL."""

from __future__ import annotations

import resource
import time
from typing import Any

import torch

from benchmarks.gpu_check.workbench import PREFIX_TOKENS, Skipped, Workbench, gradients, settings, tokens_of
from benchmarks.training_limit import Limit
from star_engine.gpu.training.checkpointing import stop_checkpointing
from star_engine.gpu.training.frozen_head import plain_head
from star_engine.gpu.training.lora_run import LoraRun
from star_engine.gpu.training.lora_trainer import LoraTrainer
from star_engine.gpu.training.packed_rows import start_packing
from star_engine.protocols import OutOfMemory

HOST_GIB = 20.0


def load(bench: Workbench) -> None:
    """Build, save and load a model of 7B; what the machine's own memory holds meanwhile."""
    folder = bench.saved("7B")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.perf_counter()
    LoraTrainer(folder, device=bench.device)
    bench.facts["load_s"] = round(time.perf_counter() - began, 1)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    bench.facts |= {"host_gib_before": round(before / 2**20, 1), "host_gib": round(peak / 2**20, 1)}
    bench.require(peak / 2**20 < HOST_GIB, f"host memory below {HOST_GIB} GiB")


def steps(bench: Workbench) -> None:
    """Tokens a second with 8 and 64 rows, peak memory, and the share of the card's arithmetic."""
    trainer = LoraTrainer(bench.saved("7B"), device=bench.device)
    for count in (8, bench.size(64, 12)):
        _measure(bench, trainer, count)
    bench.facts |= {"peak_gib": bench.peak_gib(), "tokens_at_once": trainer._micro_tokens}  # noqa: SLF001
    if bench.on_cuda:
        bench.require(bench.facts["share of 64"] >= 0.25, "a quarter of 790 TFLOP/s at 64 rows (goal: 0.50)")


def _measure(bench: Workbench, trainer: LoraTrainer, count: int) -> None:
    rows = bench.rows(count)
    base = trainer._base  # noqa: SLF001 - what it has loaded
    with bench.adapted(base) as model:
        run = bench.run(model)
        seconds = bench.timed(lambda: _fitting(run, rows, trainer))
    bench.facts[f"tokens_s of {count}"] = round(tokens_of(rows) / seconds)
    share = Limit.of(base, 16).flops(rows) / seconds / 790e12
    bench.facts[f"share of {count}"] = round(share, 4)


def _fitting(run: LoraRun, rows: Any, trainer: LoraTrainer) -> None:
    while True:
        try:
            run.learn(rows, trainer._micro_tokens)  # noqa: SLF001
            return
        except torch.OutOfMemoryError:
            trainer._micro_tokens //= 2  # noqa: SLF001
            torch.cuda.empty_cache()


def levers(bench: Workbench) -> None:
    """A step with PEFT's layers, lean ones, the loss in chunks, packed, checkpointed: equal in loss."""
    base = bench.build("7B")
    rows = bench.rows(bench.size(32, 6))
    tokens = bench.size(4096, 1024)
    found: dict[str, tuple[float, float]] = {}
    names = ("peft", "lean", "chunked", "packed", "checkpointed")
    for at, name in enumerate(names):  # each has what those before it have
        with bench.adapted(base, lean=name != "peft", weights=True) as model:
            run = bench.run(model)
            run.head = plain_head(base) if at >= names.index("chunked") else None
            run.packed = at >= names.index("packed") and start_packing(base)
            bench.require(run.packed or name != "packed", "its rows can be packed")
            if name == "checkpointed":
                run.checkpoint_layers()
            loss = run.learn(rows, tokens).loss
            if bench.on_cuda:
                torch.cuda.reset_peak_memory_stats()
            seconds = bench.timed(lambda run=run: run.learn(rows, tokens))  # type: ignore[misc]
            found[name] = loss, seconds
            bench.facts[name] = {"loss": loss, "seconds": round(seconds, 4), "peak_gib": bench.peak_gib()}
            stop_checkpointing(base)
    losses = [loss for loss, _ in found.values()]
    bench.require(max(losses) - min(losses) <= 5e-3 * min(losses), "losses within 5e-3")
    if bench.on_cuda:
        faster = found["peft"][1] / found["lean"][1]
        bench.require(faster >= 1.25, "lean layers 1.25 times as fast as PEFT's")
        bench.require(
            found["packed"][1] <= 1.05 * found["chunked"][1], "packed rows no slower than padded ones"
        )


def packed_prefix(bench: Workbench) -> None:
    """Rows behind a shared prefix and rows of their own: packed as padded, loss and gradients."""
    base = bench.build("0.5B")
    rows = [*bench.rows(bench.size(16, 4), bench.size(PREFIX_TOKENS, 80)), *bench.rows(bench.size(32, 4))]
    found = {}
    for packed in (False, True):
        with bench.adapted(base, weights=True) as model:
            run = bench.run(model)
            run.packed = packed and start_packing(base)
            bench.require(run.packed is packed, "its rows can be packed")
            loss = run.learn(rows, bench.size(16384, 2048)).loss
            found[packed] = loss, gradients(model)
            name = "packed_s" if packed else "padded_s"
            bench.facts[name] = round(bench.timed(lambda run=run: run.learn(rows, 16384)), 4)  # type: ignore[misc]
    (loss, wanted), (other, gradient) = found[False], found[True]
    cosine = torch.nn.functional.cosine_similarity(wanted, gradient, dim=0).item()
    bench.facts |= {"padded": loss, "packed": other, "cosine": cosine}
    bench.require(abs(loss - other) <= 5e-3 * loss, "losses within 5e-3")
    bench.require(cosine >= 0.99, "gradients of the same direction, cosine 0.99 or more")


def against_trl(bench: Workbench) -> None:
    """The same steps by TRL's SFTTrainer, taking turns."""
    try:
        from benchmarks.training_rivals import ours, trl
    except ImportError as missing:
        raise Skipped(f"{missing.name} is not installed") from missing
    texts = bench.texts(bench.size(256, 16))
    count, batch = bench.size(5, 3), bench.size(64, 4)
    asked = settings(count, batch)
    options = {"gradient_checkpointing": False}
    for name in ("0.5B",) if bench.tiny else ("0.5B", "7B"):
        folder = bench.saved(name)
        trainer = LoraTrainer(folder, device=bench.device)
        mine = ours(trainer, texts, asked, count)
        del trainer
        bench.free()
        theirs = trl(folder, bench.device, texts, asked, count, **options)
        bench.free()
        ratio = theirs.seconds / mine.seconds
        bench.facts[name] = {"ours_s": mine.seconds, "trl_s": theirs.seconds, "times ours": round(ratio, 3)}
        apart = max(abs(a - b) / a for a, b in zip(mine.losses, theirs.losses, strict=True))
        bench.facts[name]["apart"] = apart
        bench.require(apart <= 1e-2, f"{name}: losses within 1e-2")
        if bench.on_cuda:
            bench.require(ratio >= 1.0, f"{name}: not slower than TRL with padding")


def out_of_memory(bench: Workbench) -> None:
    """A step beside ballast, a row that cannot fit, and a step without ballast."""
    bench.needs_cuda()
    base = bench.saved("7B")
    trainer = LoraTrainer(base, device=bench.device)
    rows = bench.rows(32)
    free, _ = torch.cuda.mem_get_info()
    ballast: Any = torch.empty(max(0, free - 10 * 2**30), dtype=torch.uint8, device=bench.device)
    with bench.adapted(trainer._base) as model:  # noqa: SLF001
        run = bench.run(model)
        _fitting(run, rows, trainer)
        bench.facts["tokens_at_once beside ballast"] = trainer._micro_tokens  # noqa: SLF001
        small = bench.run(model).learn(rows[:2], 256).loss
        try:
            bench.run(model).learn(bench.rows(1, prefix=30_000), 32_768)
        except (torch.OutOfMemoryError, OutOfMemory) as error:
            bench.facts["one row"] = str(error)[:200]
        ballast = None
        bench.free()
        again = bench.run(model).learn(rows[:2], 256).loss
    bench.facts |= {"beside": small, "alone": again, "ballast": ballast is not None}
    bench.require(abs(small - again) <= 1e-3 * again, "losses within 1e-3")


def long_rows(bench: Workbench) -> None:
    """Rows of 4,096 tokens through a model of 8B with gradient checkpointing."""
    base = bench.build("8B")
    rows = bench.rows(2, prefix=bench.size(3900, 120))
    with bench.adapted(base) as model:
        run = bench.run(model)
        run.checkpoint_layers()
        seconds = bench.timed(lambda: run.learn(rows, bench.size(4200, 200)), 1)
    bench.facts |= {"tokens_s": round(tokens_of(rows) / seconds), "peak_gib": bench.peak_gib()}
    if bench.on_cuda:
        bench.require((bench.peak_gib() or 0) < 76, "fits a card of 80 GB")
