"""vLLM's own OpenAI server as a program, which ends with whoever started it.

    python -m star_engine.gpu.vllm_server '{"model": "...", "socket": "...", "device": "cpu"}' < pipe

It listens on a Unix socket: only the user that started it can reach what loads weights. How an adapter gets
into the engine differs by device, as in VllmSampler: on CUDA several are served beside the base model
(/v1/load_lora_adapter), on CPU one at a time is merged into its weights (POST /collective_rpc use_merged).
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from typing import Any

from star_engine.protocols import BadAdapter

MODULE = "star_engine.gpu.vllm_server"
NAME = "base"  # of the base model in what is asked of the server
BATCHED = 8  # adapters whose texts a GPU writes at once
LOADED = 16  # adapters that are kept in memory beside the base model
LOGPROBS = 20  # likeliest tokens that may be asked for


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """What the server is started with. `options` are those of the VllmSampler."""

    model: str
    socket: str
    device: str = "cpu"
    max_length: int | None = None
    threads: int | None = None
    lora_rank: int = 64
    options: Mapping[str, Any] = field(default_factory=dict)


class MergesAdapters:
    """Extends vLLM's worker on CPU, in whose process the weights are."""

    model_config: Any
    reload_weights: Any

    def use_merged(self, adapter: str) -> dict[str, str]:
        """Serve the base model with this adapter, or alone (""). What is wrong with one is returned."""
        from star_engine.gpu.lora_merge import merged_weights, read_adapter, weight_shapes

        base = Path(self.model_config.model)
        if adapter and self.model_config.quantization is not None:
            return {"error": "The base model is quantized: adapters are merged on CPU, into plain weights."}
        try:
            updates = read_adapter(Path(adapter), weight_shapes(base)) if adapter else {}
        except BadAdapter as problem:
            return {"error": str(problem)}
        self.reload_weights(weights_iterator=merged_weights(base, updates))
        return {}


def arguments(settings: ServerSettings, on_cpu: bool) -> list[str]:
    """Return the command line of vLLM's server."""
    from star_engine.gpu.vllm_settings import engine_arguments

    options = dict(settings.options)
    options.pop("kv_cache_gib", None)
    engine: Mapping[str, Any] = options.pop("engine", None) or {}
    wanted = {
        "model": settings.model,
        "served_model_name": NAME,
        "uds": settings.socket,
        "generation_config": "vllm",  # what a request leaves out is OpenAI's default, not the model's
        "max_logprobs": LOGPROBS,
        "enforce_eager": on_cpu,
        "disable_uvicorn_access_log": True,
        **({"max_model_len": settings.max_length} if settings.max_length else {}),
        **engine_arguments(on_cpu, settings.lora_rank),
        **(
            {"worker_extension_cls": f"{MODULE}.MergesAdapters"}
            if on_cpu
            else {"max_loras": BATCHED, "max_cpu_loras": LOADED}
        ),
        **{name: value for name, value in options.items() if value is not None},
        **engine,
    }
    return [part for name, value in wanted.items() for part in _flag(name, value)]


def _flag(name: str, value: Any) -> Iterator[str]:
    flag = name.replace("_", "-")
    if isinstance(value, bool):
        yield f"--{flag}" if value else f"--no-{flag}"
    else:
        yield f"--{flag}"
        yield json.dumps(value) if isinstance(value, dict | list) else str(value)


def end_with_parent() -> None:
    """Wait for the end of the parent, then end this process and what it has started."""
    while os.read(0, 1):
        pass
    os.killpg(os.getpgid(0), signal.SIGKILL)


def main() -> None:
    settings = ServerSettings(**json.loads(sys.argv[1]))
    Thread(target=end_with_parent, daemon=True).start()
    from star_engine.gpu.causal_lm import set_threads
    from star_engine.gpu.vllm_settings import runs_on_cpu, set_environment

    on_cpu = runs_on_cpu(settings.device)
    set_environment(on_cpu, set_threads(settings.threads), settings.options.get("kv_cache_gib", 2))
    # The one serves /collective_rpc and /reset_prefix_cache, the other /v1/load_lora_adapter.
    os.environ["VLLM_SERVER_DEV_MODE" if on_cpu else "VLLM_ALLOW_RUNTIME_LORA_UPDATING"] = "1"
    sys.argv[1:] = arguments(settings, on_cpu)
    from vllm.entrypoints.launchers.api_server.entry import main as serve

    serve()


if __name__ == "__main__":
    main()
