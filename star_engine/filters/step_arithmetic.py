"""Rejects rationales with a false calculation: a right answer that was not reached by its steps."""

from __future__ import annotations

from star_engine.filters.arithmetic import false_equation
from star_engine.filters.filter_input import FilterInput
from star_engine.filters.scratchpad_lines import false_line


def step_arithmetic(item: FilterInput) -> str | None:
    """The reason code, if an equation in the text, or a line of a scratchpad, is not right.

    Equations are `a op b = c`, `<<a op b=c>>`, and the same in words or with units. What cannot be read is
    passed over, but in a scratchpad of the paper's layout every line has to be right.
    """
    tags = item.task.layout.working
    if tags and false_line(item.question, item.completion.partition(tags[1])[0].partition(tags[0])[2]):
        return "step_arithmetic"
    return "step_arithmetic" if false_equation(item.completion) else None
