"""The one door to the kinds' grading: a completion and an example in, a verdict out.

Every completion is cut at the first stop before its kind reads it. Grading fails closed: what is not
certainly right is `unparsed`, `ambiguous` or `wrong`, and none of these trains.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from types import MappingProxyType

from star_engine.tasks.examples import Asked
from star_engine.tasks.reading.cut import cut_at_first_stop
from star_engine.tasks.reading.final_text import MAX_STATEMENTS, read_final_text
from star_engine.tasks.task import Task, TaskOptions
from star_engine.tasks.verdict import BadGold, Verdict, VerdictCode, no_answer

NO_OPTIONS: TaskOptions = MappingProxyType({})
_FIRST_SENTENCE = re.compile(r".+?(?:[.!?](?=\s)|\n|$)", re.DOTALL)


def grade(
    task: Task,
    example: Asked,
    completion: str,
    options: TaskOptions = NO_OPTIONS,
    *,
    direct: bool = False,
    stops: Sequence[str] | None = None,  # None: the kind's
) -> Verdict:
    """Judge a completion: a rationale with its answer clause, or (direct) the answer alone.

    A gold answer that its kind cannot read gives the verdict `error`; ValueError means unfit options.
    """
    text = cut_at_first_stop(completion, task.layout.stops if stops is None else stops)
    final = read_final_text(text)
    if final is not None and final.stated > MAX_STATEMENTS:
        return no_answer(VerdictCode.AMBIGUOUS, "too_many_anchors")
    try:
        return (task.grade_direct if direct else task.grade)(example, text, options)
    except BadGold:
        return no_answer(VerdictCode.ERROR, "bad_gold")


def check_against_itself(task: Task, example: Asked, options: TaskOptions, *stated: str) -> None:
    """Raise BadGold unless the gold answer is read as itself: alone, and as each of these texts states it."""
    written = grade(task, example, example.answer, options, direct=True)
    for text in stated:
        if written.is_correct:
            written = grade(task, example, text, options)
    if not written.is_correct:
        raise BadGold(
            f"does not verify against itself ({written.verdict}: {written.rule}); "
            "shorten it to the bare answer, or choose another kind"
        )


def behind_hashes(example: Asked) -> str:
    """The gold answer as the end of a right completion may state it."""
    return f"#### {' '.join(example.answer.split())}"


def stated_in_first_sentence(task: Task, example: Asked, text: str, not_by: str | None = None) -> int | None:
    """Where the first sentence states the gold answer, be it all of the sentence; None where it does not.

    `not_by`: a rule that reads answers of the last sentence only.
    """
    first = _FIRST_SENTENCE.search(text)
    sentence = text[: first.end()] if first else text
    for direct in (True, False):
        found = grade(task, example, sentence, direct=direct)
        if found.is_correct and found.span and found.rule != not_by:
            return found.span[0]
    return None
