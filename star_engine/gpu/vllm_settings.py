"""What vLLM is told at its start: environment variables and engine arguments, by device."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from star_engine.gpu.causal_lm import has_cuda

CPU_BLOCK = 32  # tokens of a prefix-cache block; vLLM's default of 128 recomputes up to 127 of every prompt
CPU_ROWS = 64  # sequences that run at once on CPU
CUDA_ROWS = 1024  # on CUDA, vLLM's own default for large GPUs
LARGE = 3_000_000_000  # parameters from which on a GPU is busy for longer than a launch takes
LORA_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)  # that vLLM has kernels for


def runs_on_cpu(device: str | None) -> bool:
    """Whether vLLM runs on CPU. Raises RuntimeError where CUDA is asked for and not usable."""
    if device is None:
        return not has_cuda()
    if device.startswith("cuda") and not has_cuda():
        raise RuntimeError(
            "CUDA is asked for (STAR_DEVICE) and not usable: no GPU is visible to this process, or "
            "the driver is too old for this build of PyTorch (CUDA 13 needs 580 or newer; see `nvidia-smi`)."
        )
    return not device.startswith("cuda")


def engine_arguments(on_cpu: bool, max_lora_rank: int, beside: bool | None = None) -> dict[str, Any]:
    """Return the arguments of vLLM's LLM that depend on the device.

    beside: whether adapters are served beside the base model and not merged; None: on CUDA.
    """
    arguments: dict[str, Any] = {"dtype": "bfloat16"}  # as the trainer: "auto" takes what the files hold
    if on_cpu:
        arguments = {"dtype": "float32", "block_size": CPU_BLOCK, "max_num_seqs": CPU_ROWS}
    if not (beside if beside is not None else not on_cpu):
        return arguments
    return arguments | {
        "enable_lora": True,
        "max_lora_rank": next((rank for rank in LORA_RANKS if rank >= max_lora_rank), max_lora_rank),
        "max_loras": 1,
        "max_cpu_loras": 2,
    }


def graph_sizes(parameters: int, engine: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments that let a small model on CUDA decode all of its rows by graphs.

    vLLM runs up to 1,024 sequences at once and captures graphs of up to 512: above, a small model waits for
    the launches of its kernels. Nothing where `engine` says how many rows run, or what is compiled.
    """
    if parameters >= LARGE or {"max_num_seqs", "compilation_config", "enforce_eager"} & engine.keys():
        return {}
    return {"compilation_config": {"max_cudagraph_capture_size": CUDA_ROWS}}


def set_environment(on_cpu: bool, threads: int, kv_cache_gib: int, own_process: bool | None = None) -> None:
    """Set the variables that vLLM reads at its import. Those that the process already has are kept.

    own_process: whether the engine has one; None: on CUDA.
    """
    wanted = {
        # On CUDA the engine has a process of its own: ending it gives all of the device's memory back.
        "VLLM_ENABLE_V1_MULTIPROCESSING": "1",
        "VLLM_CPU_KVCACHE_SPACE": str(kv_cache_gib),
        # "auto" keeps a core for the scheduler, which on two cores is half; binding to fixed cores is bad
        # company for other processes (a database, a second worker).
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "OMP_NUM_THREADS": str(threads),
        "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
        "VLLM_NO_USAGE_STATS": "1",
        # It is compiled by nvcc when the engine starts, which the image does not have. Nothing is lost: every
        # request is greedy or has a seed, and neither takes that path.
        "VLLM_USE_FLASHINFER_SAMPLER": "0",
        # How long a start may take is the worker's to say (STAR_STALL_SECONDS): 70B from a slow share take
        # longer than vLLM's 10 minutes.
        "VLLM_ENGINE_READY_TIMEOUT_S": "86400",
        "VLLM_LOGGING_LEVEL": "WARNING",
    }
    if on_cpu and not own_process:  # in this process, whatever it was told: merged weights are handed over as
        # they are, and a second one, importing torch and vllm again, starts slowly
        os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    for name, value in wanted.items():
        os.environ.setdefault(name, value)
