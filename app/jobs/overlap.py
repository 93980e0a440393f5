"""Checks that no held-out question of a job is trained on, in whichever dataset it stands."""

from __future__ import annotations

from collections import Counter

from sqlalchemy.orm import Session

from app.errors import FieldError, Invalid
from app.ledger.data.examples import each_example
from app.tables.data import Dataset
from star_engine.config.star import StarConfig
from star_engine.data.overlap import asked_for, trained_on
from star_engine.tasks.examples import PromptSet

MAX_NAMED = 20  # of the questions at fault
MAX_COUNTED = 1000  # pairs of a dataset and a prompt set that a process remembers
_COUNTED: dict[tuple[str, PromptSet, str], tuple[int, int]] = {}


def check_own_overlap(dataset: Dataset) -> None:
    """For datasets from before an upload refused it. Those of choices are let pass: their count took the
    same words with other choices for the same question.
    """
    statistics = dataset.statistics or {}
    overlap = statistics.get("overlap", {})
    if "allowed" in overlap or statistics.get("choices"):  # judged at upload, or counted too high
        return
    if count := overlap.get("exact", {}).get("examples", 0):
        reason = f"The questions of {count} held-out examples of {dataset.id} are trained on."
        fix = "Upload it again without them, or set allow_overlap to true."
        raise Invalid.for_field("dataset", reason, fix, code="overlap")


def check_other_datasets(session: Session, dataset: Dataset, config: StarConfig) -> None:
    """Raise Invalid for a question that one dataset of a job holds out and another one trains on.

    Within the job's own dataset the upload has looked.
    """
    split, own = config.evaluation.split, dataset.id
    mixed = [mix.dataset for mix in config.training_set.mix]
    pairs = [(own, other, "config.training_set.mix") for other in mixed]
    for also in config.evaluation.also:
        pairs += [(also, trained, "config.evaluation.also") for trained in (own, *mixed) if trained != also]
    for held_out, trained, field in pairs:
        found = list(
            trained_on(each_example(session, held_out, [split]), each_example(session, trained, ["train"]))
        )
        if found:
            detail = f"{len(found)} held-out questions of {held_out} are trained on in {trained}."
            errors = [
                FieldError(
                    field,
                    f"{held.id!r} of {held_out} asks the same as {same.id!r} of {trained}.",
                    "Remove one of the two, or set allow_overlap to true.",
                )
                for held, same in found[:MAX_NAMED]
            ]
            raise Invalid(detail, code="overlap", errors=tuple(errors))


def few_shot_held_out(session: Session, dataset: Dataset, prompt_set: PromptSet, split: str) -> int:
    """Count the held-out examples that the prompt set shows. Raises Invalid if no other ones are left."""
    shown, others = _counted(session, dataset.id, prompt_set, split)
    if shown and not others:
        reason = f"Every held-out example of {dataset.id} is a few-shot example of the prompt set."
        fix = "Hold out other examples, or use other few-shot examples."
        raise Invalid.for_field("prompt_set", reason, fix, code="few_shot_held_out")
    return shown


def _counted(session: Session, dataset_id: str, prompt_set: PromptSet, split: str) -> tuple[int, int]:
    """How many held-out examples the prompt set shows, and how many it does not; neither ever changes."""
    key = dataset_id, prompt_set, split
    if key not in _COUNTED:
        asked = {asked_for(one) for one in prompt_set.examples}
        counts = Counter(asked_for(one) in asked for one in each_example(session, dataset_id, [split]))
        if len(_COUNTED) >= MAX_COUNTED:
            _COUNTED.clear()
        _COUNTED[key] = counts[True], counts[False]
    return _COUNTED[key]
