"""Questions whose answers are programs, beside those of a world: as many, so that the same checks hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Any

from app.database import new_id, transaction
from app.tables.data import Dataset, Example, PromptSet
from star_engine.data.readers import read_example
from star_engine.tasks.kind import Kind
from tests.factories import TRAIN, VALIDATION, World

JOB: dict[str, Any] = {
    "kind": Kind.CODE.value,
    "iterations": 1,
    "verifier": {"code_timeout_s": 1},
    "training_set": {"filters": []},
}


def code_row(number: int) -> dict[str, Any]:
    question = f"Write f(x), which returns x plus {number}."
    return {"question": question, "tests": [f"assert f(1) == {number + 1}", f"assert f(-2) == {number - 2}"]}


def with_code(world: World) -> World:
    """The same world, whose jobs are asked for programs; `submit(**JOB)` makes one."""
    shown = {**code_row(100), "answer": read_example(code_row(100), Kind.CODE).answer}
    rationale = "Add it.\n```python\ndef f(x):\n    return x + 100\n```"
    worked = {"question": shown["question"], "answer": shown["answer"], "rationale": rationale}
    rows = [code_row(number) for number in range(TRAIN + VALIDATION)]
    return with_questions(world, Kind.CODE, rows, worked)


def with_questions(
    world: World, kind: Kind, rows: Sequence[Mapping[str, Any]], shown: Mapping[str, Any]
) -> World:
    """The same world, whose jobs are asked these questions, the first TRAIN of them to train on."""
    dataset_id, prompt_set_id = new_id("ds"), new_id("ps")
    with transaction(world.engine) as session:
        session.add(
            Dataset(
                id=dataset_id,
                project_id=world.project_id,
                name=str(kind),
                kind=kind,
                sha256=f"{kind}:{dataset_id}",
                size_bytes=0,
                splits={"train": TRAIN, "validation": len(rows) - TRAIN},
            )
        )
        session.add(
            PromptSet(
                id=prompt_set_id,
                project_id=world.project_id,
                name=str(kind),
                kind=kind,
                examples=[{**shown, "choices": None, "group": None}],
                sha256=sha256(str(kind).encode()).hexdigest(),
            )
        )
        session.flush()
        for number, row in enumerate(rows):
            split, position = ("train", number) if number < TRAIN else ("validation", number - TRAIN)
            read = read_example(row, kind)
            session.add(
                Example(
                    dataset_id=dataset_id,
                    split=split,
                    position=position,
                    external_id=f"e{number}",
                    question=read.question,
                    answer=read.answer,
                )
            )
    return replace(world, dataset_id=dataset_id, prompt_set_id=prompt_set_id)
