"""The forward and backward pass of a LoRA layer as its matrix products and nothing else.

PEFT computes `base(x) + lora_B(lora_A(x)) * scaling` one by one: beside the products, two more passes over
the output on the way there and three on the way back, and as many temporary tensors. Here every small product
is added into the large one's result by the product itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from peft.tuners.lora import Linear
from torch.nn.functional import linear


class _LoraProduct(torch.autograd.Function):
    """y = x W' + bias + scale * (x A') B'. W is (out, in) and frozen, A (rank, in), B (out, rank)."""

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        a: torch.Tensor,
        b: torch.Tensor,
        scale: float,
    ) -> torch.Tensor:
        rows = x.reshape(-1, x.shape[-1])
        narrow = rows @ a.t()
        out = linear(rows, weight, bias).addmm_(narrow, b.t(), alpha=scale)
        ctx.save_for_backward(rows, narrow, weight, a, b)
        ctx.scale = scale
        return out.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        rows, narrow, weight, a, b = ctx.saved_tensors
        gradient = gradients[0].reshape(-1, gradients[0].shape[-1])
        to_narrow = (gradient @ b).mul_(ctx.scale)
        to_x = None
        if ctx.needs_input_grad[0]:  # not where x is the frozen embedding
            to_x = (gradient @ weight).addmm_(to_narrow, a).view(*gradients[0].shape[:-1], -1)
        to_b = (gradient.t() @ narrow).mul_(ctx.scale)
        return to_x, None, None, to_narrow.t() @ rows, to_b, None


def use_lean_forward(model: Any) -> None:
    """Let the plain LoRA layers of a PEFT model compute this way from now on.

    PEFT's own way stays where something comes in between: dropout, weights of another type than the base
    model's (bfloat16 under float32), quantized and transposed layers.
    """
    for module in model.modules():
        if isinstance(module, Linear) and _plain(module):
            module.forward = partial(_forward, module)


def _plain(module: Any) -> bool:
    base, (name, *others) = module.base_layer, module.active_adapters
    return (
        type(base) is torch.nn.Linear
        and not others
        and not module.lora_variant
        and isinstance(module.lora_dropout[name], torch.nn.Identity)
        and base.weight.dtype == module.lora_A[name].weight.dtype
        and not (base.weight.requires_grad or module.lora_B[name].bias is not None)
    )


@contextmanager
def adapter_off(model: Any) -> Iterator[None]:
    """The base model's own forward meanwhile. PEFT's switch would stop and restart gradients as well."""
    layers = [module for module in model.modules() if isinstance(module, Linear)]
    for layer in layers:
        layer._disable_adapters = True  # noqa: SLF001 - what PEFT's and our forward look at
    try:
        yield
    finally:
        for layer in layers:
            layer._disable_adapters = False  # noqa: SLF001


def _forward(module: Any, x: torch.Tensor) -> torch.Tensor:
    if module.disable_adapters:
        return module.base_layer(x)  # type: ignore[no-any-return]
    base, [name] = module.base_layer, module.active_adapters
    a, b = module.lora_A[name].weight, module.lora_B[name].weight
    out: torch.Tensor = _LoraProduct.apply(x, base.weight, base.bias, a, b, module.scaling[name])  # type: ignore[no-untyped-call]
    return out
