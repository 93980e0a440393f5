"""The attack suite through a whole job: programs that a model wrote, judged by a worker."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, select

from app.database import reading, transaction
from app.ledger.queue.capacity import note_sandbox, saw_worker
from app.ledger.queue.steps import claim_step
from app.tables.data import Dataset, Example, PromptSet
from app.tables.executions import Execution
from app.tables.rationales import Rationale
from star_engine.data.readers import read_example
from star_engine.tasks.kind import Kind
from star_engine.tasks.programs.execution import using_runner
from tests.code_questions import code_row
from tests.factories import World, make_world
from tests.worker.sandbox import test_attacks
from tests.worker.sandbox.attacks import BOUNDED, ESCAPES, FORGERIES, RIGHT, UNKNOWN
from worker.shared_calls import work_on

surroundings = test_attacks.surroundings  # the fixture
EVERY: dict[str, Mapping[str, Any]] = {
    "escape": ESCAPES,
    "bounded": BOUNDED,
    "forged": FORGERIES,
    "right": RIGHT,
}
SAMPLE = {"escape": 8, "bounded": 3, "forged": 8, "right": 4}  # every so many-th of them
SETTINGS: dict[str, Any] = {
    "kind": "code",
    "iterations": 1,
    "rationalization": {"enabled": False},
    "verifier": {"code_timeout_s": 1},
    "training_set": {"filters": [], "min_kept": 1},
    "audits": {"spark_level": None},
}


def names(*, every: bool) -> list[str]:
    return [
        f"{sort}/{name}"
        for sort, known in EVERY.items()
        for name in [*known][:: 1 if every else SAMPLE[sort]]
    ]


def ask(world: World, attacks: list[str]) -> None:
    """A question to train on for each attack, and two right programs that are held out."""
    asked = [*attacks, *(name for name in names(every=True) if name.startswith("right/"))][: len(attacks) + 2]
    with transaction(world.engine) as session:
        session.execute(delete(Example))
        dataset = session.get_one(Dataset, world.dataset_id)
        dataset.kind, dataset.splits = Kind.CODE, {"train": len(attacks), "validation": 2}
        prompt_set = session.get_one(PromptSet, world.prompt_set_id)
        prompt_set.kind = Kind.CODE
        shown = read_example(code_row(100), Kind.CODE)
        block = {"question": "Write f.", "answer": shown.answer, "rationale": "```python\nf = 1\n```"}
        prompt_set.examples = [{**block, "choices": None, "group": None}]
        for number, name in enumerate(asked):
            sort, _, own = name.partition("/")
            tests = RIGHT[own][1] if sort == "right" else (f"assert answer() == {UNKNOWN!r}",)
            read = read_example({"question": f"Write {name}.", "tests": list(tests)}, Kind.CODE)
            split = "train" if number < len(attacks) else "validation"
            position = number if number < len(attacks) else number - len(attacks)
            session.add(
                Example(
                    dataset_id=world.dataset_id,
                    split=split,
                    position=position,
                    external_id=f"{split}/{name}",
                    question=read.question,
                    answer=read.answer,
                )
            )


@pytest.mark.parametrize("runner", test_attacks.RUNNERS)
@pytest.mark.parametrize("every", [False, pytest.param(True, marks=pytest.mark.long)])
def test_no_attack_of_a_job_escapes_and_every_verdict_is_right(
    runner: str,
    every: bool,
    surroundings: dict[str, Any],
    sqlite_database_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("UNDER_TEST_SURROUNDINGS", json.dumps(surroundings))
    script = "tests.worker.sandbox.attacking_pupil:pupil"
    world = make_world(sqlite_database_url, tmp_path / "home", sampler_script=script, shard_examples=200)
    attacks = names(every=every)
    ask(world, attacks)
    context = world.worker_context()
    with transaction(context.engine) as session:
        saw_worker(session, context.worker_id)
        note_sandbox(session, context.worker_id, None)
    job_id = world.submit(**SETTINGS)
    with test_attacks.RUNNERS[runner]() as sandbox, using_runner(sandbox):
        while (claim := claim_step(context.engine, context.worker_id, 60, context.warm_model)) is not None:
            work_on(context, claim)
    context.drop_gpu()
    assert world.job(job_id).status == "succeeded", world.job(job_id).status_reason
    with reading(world.engine) as session:
        made = session.execute(
            select(Example.external_id, Rationale.verdict).join(Example, Example.id == Rationale.example_id)
        )
        verdicts = {str(name).removeprefix("train/"): verdict for name, verdict in made}
        said = [json.dumps(one) for one in session.scalars(select(Execution.result))]
    expected = {name: "correct" if name.startswith("right/") else "wrong" for name in attacks}
    assert verdicts == expected
    assert len(said) >= len(attacks)
    assert not [one for one in said if "ESCAPED" in one]
    assert Path(surroundings["secret"]).read_text() == "secret"
    assert not Path(surroundings["outside"]).exists()
