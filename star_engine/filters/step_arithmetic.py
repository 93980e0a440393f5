"""Rejects rationales with a false calculation: a right answer that was not reached by its steps."""

from __future__ import annotations

from star_engine.filters.arithmetic import false_equation
from star_engine.filters.filter_input import FilterInput


def step_arithmetic(item: FilterInput) -> str | None:
    """The reason code, if an equation `a op b = c` or a `<<a op b=c>>` in the text does not hold.

    What cannot be read (variables, units between the numbers) is passed over, never rejected.
    """
    return "step_arithmetic" if false_equation(item.completion) else None
