"""Which kind rows are likely to be of that nobody has named one for."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from star_engine.tasks.kind import Kind
from star_engine.tasks.registry import TASKS

PLAIN = Kind.EXACT  # answers are read as they are written: nothing is known of them
LARGE_SHARE = 0.8  # of the rows: the others may be mistakes
_BY_VALUE = (Kind.DATE, Kind.NUMERIC, Kind.MATH)  # in this order
_DIGITS = re.compile(r"\d(?: \d)*(?: [+*-] \d(?: \d)*)+")  # "4 7 + 3 6", as the scratchpads of the paper ask


def likely_kind(
    questions: Sequence[str],
    answers: Sequence[str],
    shapes: Mapping[str, int],
    *,
    choices: bool = False,
    programs: bool = False,
) -> Kind | None:
    """The kind, as a guess; None where there are no answers to tell it by.

    answers: as they are written. shapes: how many of them look like what, in the words of
    `Task.answer_shapes`. choices, programs: whether rows come with texts to choose among, or with tests.
    """
    if choices:
        return Kind.CHOICE
    if programs:
        return Kind.CODE
    if not answers:
        return None
    enough = LARGE_SHARE * len(answers)
    if sum(_DIGITS.fullmatch(one) is not None for one in questions) >= enough:
        return Kind.SCRATCHPAD
    for kind in _BY_VALUE:
        if sum(shapes.get(shape, 0) for shape in TASKS[kind].answer_shapes or ()) >= enough:
            return kind
    for task in TASKS.values():  # "... #### 42", as GSM8K writes its answers
        if task.solution_mark and sum(f"\n{task.solution_mark}" in one for one in answers) >= enough:
            return Kind(task.kind)
    return PLAIN
