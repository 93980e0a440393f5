"""Writes numbers of a table the way its author sees them."""

from __future__ import annotations

from decimal import Decimal

_MAX_WRITTEN_OUT = 30  # digits before or behind the point; beyond, an exponent is what people write


def shown_number(value: int | float | Decimal | str) -> str:
    """Write a number as short as possible, without an exponent: 7, 0.1, 10000000000000000.

    A text is a number already written, perhaps with an exponent: "1e+16".
    """
    if isinstance(value, int):
        return str(value)
    exact = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    if not exact.is_finite() or abs(exact.adjusted()) > _MAX_WRITTEN_OUT:
        return str(value)
    return format(exact, "f")
