"""What the owner of a dataset should know of its rows before training on them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from star_engine.tasks.registry import TASKS

LARGE_SHARE_OF_LETTERS = 0.9  # of the gold answers at one place among the choices
LARGE_SHARE_OF_ANSWERS = 0.9  # that look like those of one kind
FEW_ROWS = 10  # so many may have their answers at one place by chance


def data_warnings(statistics: Mapping[str, Any] | None, kind: str) -> list[str]:
    """Return warnings, one sentence each, from the counts made at upload."""
    if statistics is None:
        return []
    found = [
        _trained_on(statistics),
        _nearly_trained_on(statistics),
        _contradicted(statistics),
        _one_letter(statistics),
        _other_kind(statistics, kind),
        _left_out(statistics),
    ]
    return [warning for warning in found if warning is not None]


def held_out_warnings(asked: int, splits: Mapping[str, int]) -> list[str]:
    """Return a warning where fewer rows are held out than the upload asked for."""
    held_out = splits.get("validation", 0)
    said = (
        f"{asked:,} rows were to be held out (validation={asked}), and {held_out:,} are: at most half of the "
        "rows are taken for it, and none where rows are marked as validation themselves."
    )
    return [said] if held_out < asked else []


def _left_out(statistics: Mapping[str, Any]) -> str | None:
    gone = statistics.get("left_out")
    if gone is None:
        return None
    first = f" The first mistake among them: {gone['mistakes'][0]['reason']}" if gone["mistakes"] else ""
    verb = "row of the file was" if gone["rows"] == 1 else "rows of the file were"
    return f"{gone['rows']:,} {verb} left out when it was uploaded.{first}"


def _trained_on(statistics: Mapping[str, Any]) -> str | None:
    count = statistics["overlap"]["exact"]["examples"]
    if not count:
        return None
    return (
        f"The questions of {count} held-out examples are trained on, as allow_overlap says: accuracy on them "
        "shows what was remembered."
    )


def _nearly_trained_on(statistics: Mapping[str, Any]) -> str | None:
    near = statistics["overlap"]["ngrams"]
    count = near["examples"] - statistics["overlap"]["exact"]["examples"]
    if count <= 0:
        return None
    return (
        f"{count} of {near['checked']} held-out questions share half of their phrases of {near['n']} words "
        "or more with questions that are trained on. Questions made from templates do so honestly; else the "
        "same question may stand on both sides in other words. GET .../statistics names them."
    )


def _contradicted(statistics: Mapping[str, Any]) -> str | None:
    duplicates = statistics["duplicates"]
    count = duplicates["answers_differ"]
    if not count:
        return None
    first = next(one for one in duplicates["named"] if one["answers_differ"])
    where = "where their choices are the same, no" if statistics["choices"] else "no"
    return (
        f"{count} questions have several rows whose answers differ, such as {first['id']!r} and others like "
        f"it: {where} text is right for all. Correct them, or remove all but one."
    )


def _one_letter(statistics: Mapping[str, Any]) -> str | None:
    options, most_common = statistics["choices"], statistics["answers"]["most_common"]
    if not options or not most_common or sum(options.values()) < FEW_ROWS:
        return None
    share = most_common[0]["share"]
    if share < LARGE_SHARE_OF_LETTERS:
        return None
    return (
        f"The right choice is ({most_common[0]['answer']}) in {100 * share:.0f} % of the examples: a model "
        "learns the letter and not the question. Shuffle the choices of every row."
    )


def _other_kind(statistics: Mapping[str, Any], kind: str) -> str | None:
    """Name the kind that reads most of the answers by value, where the dataset's compares characters."""
    if TASKS[kind].answer_shapes != ():
        return None
    counts = statistics["answers"]["kinds"]
    for other, task in TASKS.items():
        share = sum(counts.get(shape, 0) for shape in task.answer_shapes or ()) / max(1, sum(counts.values()))
        if share >= LARGE_SHARE_OF_ANSWERS:
            return (
                f"{100 * share:.0f} % of the answers look like those of the kind {other}. The kind {kind} "
                "compares characters, so a right answer that is written otherwise is wrong (1,000 and 1000 "
                f"differ): upload them as {other}."
            )
    return None
