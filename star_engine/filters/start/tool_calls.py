"""Rejects texts that make no true use of the tool they call."""

from __future__ import annotations

import ast
import re

from star_engine.filters.filter_input import FilterInput

_OUTPUT = re.compile(r"^```output\b", re.MULTILINE)
_BLOCK = re.compile(r"```(?:python|run)\n(.*?)```", re.DOTALL)


def tool_fake(item: FilterInput) -> str | None:
    """The reason code, if the model has written an output itself, or its code prints constants alone.

    `print(42)` computes nothing: the model has the answer by heart.
    """
    if item.tools is None:
        return None
    if _OUTPUT.search(item.tools.own(item.completion)):
        return "tool_fake"
    codes = [found[1] for found in _BLOCK.finditer(item.completion)]
    return "tool_fake" if codes and item.tools.calls and all(map(_prints_constants, codes)) else None


def all_calls_failed(item: FilterInput) -> str | None:
    """The reason code, if there were calls and none of them worked."""
    used = item.tools
    return "all_calls_failed" if used is not None and 0 < used.calls == used.failed else None


def output_ignored(item: FilterInput) -> str | None:
    """The reason code, if the gold answer does not stand in the last output: it came from elsewhere.

    A right text may well check something else than its answer, so that this filter is for calculations.
    """
    outputs = [] if item.tools is None else item.tools.of("output")
    if not outputs:
        return None
    start, end = outputs[-1]
    said = item.completion[start:end].replace(",", "")
    wanted = item.gold_text.replace(",", "")
    found = re.search(rf"(?<![\w.]){re.escape(wanted)}(?!\w|\.\d)", said)
    return None if found else "output_ignored"


def _prints_constants(code: str) -> bool:
    """Whether code has no operation, no loop and no call but print with constants."""
    try:
        tree = ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    prints = all(isinstance(call.func, ast.Name) and call.func.id == "print" for call in calls)
    computing = (ast.BinOp, ast.AugAssign, ast.BoolOp, ast.Compare)
    work = (*computing, ast.For, ast.While, ast.comprehension, ast.FunctionDef)
    return prints and not any(isinstance(node, work) for node in ast.walk(tree))
