"""Executions against what was made of them: each text that programs judged, or that called one, is explained
by what is on record, and by nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Engine, func, select

from app.database import reading
from app.ledger.data.examples import as_example
from app.ledger.results.executions import executed, recorded_execution
from app.tables.data import Example
from app.tables.executions import Execution as ExecutionRow
from app.tables.jobs import Iteration, Job
from app.tables.rationales import Evaluation, Rationale
from star_engine.config.star import StarConfig
from star_engine.sampling.answers import read_answer
from star_engine.sampling.tool_turns import called, program_of, said
from star_engine.tasks.programs.execution import Execution, Program, using_runner
from star_engine.tasks.programs.tool_use import ToolUse, tool_use_from
from star_engine.tasks.registry import task_of
from tests.factories import World


@dataclass
class OnRecord:
    """A runner that executes nothing: it answers what a project has on record."""

    engine: Engine
    project_id: str
    asked: set[str] = field(default_factory=set)

    def run(self, programs: Sequence[Program], owner: str = "") -> Iterator[Execution]:
        for program in programs:
            with reading(self.engine) as session:
                found = recorded_execution(session, self.project_id, program)
            assert found is not None, f"no execution is on record of {program.code!r}"
            self.asked.add(program.sha256)
            yield found


def check_executions(world: World) -> int:
    """Raises AssertionError where a verdict or a tool's output is not what its execution on record says, or
    where a program is counted twice. How many executions explain the texts.
    """
    record = OnRecord(world.engine, world.project_id)
    with reading(world.engine) as session, using_runner(record):
        jobs = [job for job in session.scalars(select(Job)) if job.config.executes]
        for job in jobs:
            tries = select(Rationale, Example).join(Example, Example.id == Rationale.example_id)
            for made, example in session.execute(tries.where(Rationale.job_id == job.id)):
                _check_text(job.config, made.text, made.verdict, example, made.tools, record)
            answers = select(Evaluation, Example).join(Example, Example.id == Evaluation.example_id)
            own = answers.join(Iteration, Iteration.id == Evaluation.iteration_id)
            for given, example in session.execute(own.where(Iteration.job_id == job.id)):
                _check_text(job.config, given.text, given.verdict, example, given.tools, record)
        known = set(session.scalars(select(ExecutionRow.program_sha256)))
        counted = sum(executed(session, job_id)[0] for job_id in session.scalars(select(Job.id)))
        gone = select(func.count()).where(ExecutionRow.job_id.not_in(select(Job.id)))
        assert counted + (session.scalar(gone) or 0) == len(known), "a program is counted twice"
        assert record.asked <= known
    return len(record.asked)


def _check_text(
    config: StarConfig,
    text: str,
    verdict: str,
    example: Example,
    tools: Mapping[str, Any] | None,
    record: OnRecord,
) -> None:
    if task_of(config.kind).runs_programs:
        assert read_answer(config, as_example(example), text).verdict == verdict, f"{text!r} is not {verdict}"
    if (use := tool_use_from(tools)) is not None:
        _check_calls(config, text, use, record)


def _check_calls(config: StarConfig, text: str, use: ToolUse, record: OnRecord) -> None:
    tool, cells, calls = config.tools.python, list[str](), 0
    assert tool is not None
    for start, end in use.of("output"):
        code = called(text[:start], config.tool_fence)
        if code is None:
            continue  # the line feed behind a fence
        program, mark = program_of(tool, cells, code)
        [found] = record.run([program])
        shown, failed = said(found, mark, tool.output_chars)
        assert shown in text[start:end], f"the tool has said {shown!r}, and not {text[start:end]!r}"
        calls += 1
        if not failed:
            cells.append(code)
    assert calls == use.calls
