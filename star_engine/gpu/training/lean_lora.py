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
from torch.nn.functional import linear

from star_engine.gpu.peft_alone import LoraLayer
from star_engine.gpu.training.four_bits import is_four_bit, whole

# Of the base model and of the adapter.
_PRECISIONS = {
    (torch.float32, torch.float32),
    (torch.bfloat16, torch.bfloat16),
    (torch.bfloat16, torch.float32),
}


class _LoraProduct(torch.autograd.Function):
    """y = x W' + bias + scale * (x A') B'. W is (out, in) and frozen, A (rank, in), B (out, rank).

    A and B may be float32 under a bfloat16 base: products are then those of A and B rounded to bfloat16, as
    vLLM serves them, and their gradients are summed in float32. W may be in 4 bits (four_bits.py): it is made
    whole for each product, and what is kept for the way back is the 4 bits.
    """

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
        ctx.precision, ctx.state = a.dtype, getattr(weight, "quant_state", None)
        numbers = whole(weight, ctx.state)
        a, b = a.to(numbers.dtype), b.to(numbers.dtype)
        rows = x.reshape(-1, x.shape[-1])
        narrow = rows @ a.t()
        out = linear(rows, numbers, bias).addmm_(narrow, b.t(), alpha=scale)
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
            to_x = (gradient @ whole(weight, ctx.state)).addmm_(to_narrow, a)
            to_x = to_x.view(*gradients[0].shape[:-1], -1)
        to_b = _summed(gradient, narrow, ctx.precision).mul_(ctx.scale)
        return to_x, None, None, _summed(to_narrow, rows, ctx.precision), to_b, None


def _summed(one: torch.Tensor, other: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Sum over the rows of both, in `dtype`: (rows, m) and (rows, n) to (m, n)."""
    if one.dtype == dtype:
        return one.t() @ other
    if one.device.type == "cuda":  # its products sum in float32 by themselves, and can hand that out
        return torch.mm(one.t(), other, out_dtype=dtype)
    return one.t().to(dtype) @ other.to(dtype)


def use_lean_forward(model: Any) -> None:
    """Let the plain LoRA layers of a PEFT model compute this way from now on.

    PEFT's own way stays where something comes in between: dropout, transposed layers, other quantizations.
    """
    for module in model.modules():
        if isinstance(module, LoraLayer) and _plain(module):
            module.forward = partial(_forward, module)


def _plain(module: Any) -> bool:
    base, (name, *others) = module.base_layer, module.active_adapters
    if not (type(base) is torch.nn.Linear or is_four_bit(base)):
        return False
    state = getattr(base.weight, "quant_state", None)
    return (
        not others
        and not module.lora_variant
        and isinstance(module.lora_dropout[name], torch.nn.Identity)
        and ((state or base.weight).dtype, module.lora_A[name].weight.dtype) in _PRECISIONS
        and not (base.weight.requires_grad or module.lora_B[name].bias is not None)
    )


@contextmanager
def adapter_off(model: Any) -> Iterator[None]:
    """The base model's own forward meanwhile. PEFT's switch would stop and restart gradients as well."""
    layers = [module for module in model.modules() if isinstance(module, LoraLayer)]
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
