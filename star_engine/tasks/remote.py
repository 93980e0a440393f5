"""Answers that a grader of the user's own judges over HTTPS, for checkers that no sandbox has: provers.

The engine sends nothing: what asks graders is installed as the process's runner (app/grader.py); without one
SandboxFailed is raised, which is no verdict. What a grader said is recorded and replayed as executions are.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field

from star_engine.section import Section
from star_engine.tasks.program import FUNCTION, Judged
from star_engine.tasks.programs.execution import Limits, Program
from star_engine.tasks.task import TaskOptions

DEFAULT_SECONDS = 10.0


class RemoteOptions(Section):
    grader_url: str | None = Field(
        default=None,
        max_length=2000,
        pattern=r"^https?://",
        description=(
            "Address of a grader: it is sent {example, answer} as signed JSON, and gives "
            '{"value": true, false or a number that is right from 0.5 on}.'
        ),
    )
    grader_timeout_s: float | None = Field(
        default=None,
        gt=0,
        le=60,
        description=f"Seconds that it may take for one answer; {DEFAULT_SECONDS:g}.",
    )


def request_for(example: dict[str, Any], answer: str, options: TaskOptions) -> Program:
    """What is asked to judge an answer. ValueError without the option `grader_url`."""
    url = options.get("grader_url")
    if not url:
        raise ValueError("the kind remote needs the option grader_url, the address of a grader")
    seconds = float(options.get("grader_timeout_s") or DEFAULT_SECONDS)
    return Program("", call=(FUNCTION, (example, answer)), url=str(url), limits=Limits(wall_s=seconds))


REMOTE = Judged("remote", RemoteOptions, "grader_url", request_for, sandboxed=False)
