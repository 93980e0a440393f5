"""Spans of calls to the GPU process, by OpenTelemetry's conventions for generative models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.tracing.spans import Span, SpanKind, Value, begin, is_on


def begin_call(model: str, sampler: str, call: str, arguments: Mapping[str, Any]) -> Span:
    """The span of one call; its caller ends it. Prompts and texts are in no attribute."""
    if not is_on():
        return begin(call)
    facts: dict[str, Value | None] = {
        "gen_ai.request.model": model,
        "gen_ai.provider.name": sampler,
        "star.gpu.call": call,
    }
    if call == "stream":
        params = arguments["params"]
        facts |= {
            "gen_ai.operation.name": "text_completion",
            "gen_ai.request.temperature": params["temperature"],
            "gen_ai.request.top_p": params["top_p"],
            "gen_ai.request.top_k": params["top_k"] or None,
            "gen_ai.request.max_tokens": params["max_tokens"],
        }
        return begin(f"text_completion {model}", facts, SpanKind.CLIENT)
    if call == "train":
        job = arguments["job"]
        facts |= {"star.training.steps": job["steps"], "star.training.rows": len(job["data"])}
        return begin(f"train {model}", facts, SpanKind.CLIENT)
    return begin(f"gpu {call}", facts, SpanKind.CLIENT)
