"""What goes together with a tool: kind code, many answers to a question, a verifier, a loss on prompts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from app.database import reading, transaction
from app.ledger.queue.capacity import note_sandbox, saw_worker
from app.ledger.queue.steps import claim_step
from app.ledger.results.rationales import trained_rows
from app.tables.candidates import Candidate
from app.tables.jobs import Iteration
from app.tables.rationales import Rationale
from star_engine.protocols import SampleRequest
from star_engine.tasks.programs.execution import using_runner
from star_engine.tasks.programs.tool_use import tool_use_from
from tests import code_questions, tool_questions
from tests.factories import TRAIN, World, make_world
from tests.worker.sandbox.code_pupil import pupil as programming_pupil
from worker.context import WorkerContext
from worker.sandbox.local import LocalRunner
from worker.shared_calls import work_on

TRIED = "```run\nprint((lambda x: x + 1)(1))\n```\n"


def trying_pupil() -> Callable[[SampleRequest, Path | None], str]:
    """Writes programs, and tries something out before each."""
    write = programming_pupil()

    def answer(request: SampleRequest, adapter: Path | None) -> str:
        if request.prompt.endswith("```output\n2\n```\n"):
            return str(write(request, adapter)).partition("\n\nQ:")[0].lstrip()
        return f" I try it first.\n{TRIED}"

    return answer


@pytest.fixture
def worker(database_url: str, tmp_path: Path) -> Iterator[tuple[World, WorkerContext]]:
    script = "tests.worker.sandbox.tool_pupil:pupil"
    world = make_world(database_url, tmp_path / "home", sampler_script=script, retry_seconds=0.01)
    context = world.worker_context()
    with transaction(context.engine) as session:
        saw_worker(session, context.worker_id)
        note_sandbox(session, context.worker_id, None)
    yield world, context
    context.drop_gpu()


def work(world: World, context: WorkerContext, job_id: str) -> list[Iteration]:
    while (claim := claim_step(context.engine, context.worker_id, 60, context.warm_model)) is not None:
        work_on(context, claim)
    assert world.job(job_id).status == "succeeded", world.job(job_id).status_reason
    with reading(world.engine) as session:
        return list(session.scalars(select(Iteration).order_by(Iteration.number)))


def test_many_answers_and_a_verifier_have_the_tool_and_leave_its_words_out(
    worker: tuple[World, WorkerContext],
) -> None:
    world, context = worker
    more: dict[str, Any] = {
        "iterations": 2,
        "generation": {"max_tokens": 400, "temperature": 0.7, "samples_per_example": 2},
        "evaluation": {
            "test_time": {"samples": 2, "ks": [1, 2], "methods": ["pass", "best_of"], "scorer": "verifier"}
        },
        "trained_verifier": {"method": "yes_no"},
        "training": {"loss": "all", "schedule": {"kind": "linear", "start": 2, "add": 0}},
    }
    job_id = tool_questions.with_tools(world).submit(**{**tool_questions.JOB, **more})
    iterations = work(world, context, job_id)
    with reading(world.engine) as session:
        made = session.scalars(select(Candidate).where(Candidate.sampler_adapter_id.is_not(None))).all()
    assert iterations[-1].metrics["test_time"]["curves"]["pass"][0]["value"] == 1.0
    for one in made:
        use = tool_use_from(one.tools)
        assert use is not None
        assert use.calls == 1
        outputs = [one.text[start:end] for start, end in use.of("output")]
        scored = (one.scores or {})["generator"][1]
        assert scored < len(one.text.split()) + 1
        assert outputs[0].startswith("```output\n")
        assert "verifier" in (one.scores or {})


def test_kind_code_tries_out_what_it_will_write(worker: tuple[World, WorkerContext]) -> None:
    world, _ = worker
    script = f"{__name__}:trying_pupil"
    context = world.worker_context("worker:2")
    object.__setattr__(context, "settings", context.settings.model_copy(update={"sampler_script": script}))
    with transaction(context.engine) as session:
        saw_worker(session, context.worker_id)
        note_sandbox(session, context.worker_id, None)
    settings = {**code_questions.JOB, "rationalization": {"enabled": False}, "tools": {"python": {}}}
    job_id = code_questions.with_code(world).submit(**settings)
    with closing(LocalRunner(2)) as runner, using_runner(runner):
        _, first = work(world, context, job_id)
    context.drop_gpu()
    assert first.metrics["tool_use"]["generated"]["rate"] == 1
    assert first.metrics["solve_rate"] == 0.5
    with reading(world.engine) as session:
        texts = session.scalars(select(Rationale.text)).all()
        rows = trained_rows(session, first.id)
    assert all(text.startswith(f"I try it first.\n{TRIED}```output\n2\n```\n") for text in texts)
    assert len(rows) == TRAIN / 2
    for row in rows:
        [(start, end, who)] = row.masked
        assert (row.completion[start:end], who) == ("```output\n2\n```\n", "output")
