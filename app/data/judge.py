"""The engine's command `judge`, with programs executed and graders asked: `python -m app.data.judge URL`."""

from __future__ import annotations

import json
import os
import runpy
import sys

from app.grader import Grader
from app.sandbox import use_service
from star_engine.tasks.programs.execution import (
    GraderFailed,
    SandboxFailed,
    current_runner,
    has_runner,
    use_runner,
)

SANDBOX_FAILED, GRADER_FAILED = 75, 76  # how it ends where a program was not executed, a grader not heard

if __name__ == "__main__":
    use_service(sys.argv[1])
    graders = json.loads(os.environ.pop("STAR_JUDGE_GRADERS", "null"))  # no argument: those are seen by all
    if graders is not None:
        sandbox = current_runner() if has_runner() else None
        use_runner(Grader(graders["secret"], tuple(graders["allowed_hosts"]), sandbox))
    sys.argv[1:] = ["judge", "-"]
    try:
        # Not imported: the engine's command can load models too, which this package never does.
        runpy.run_module("star_engine", run_name="__main__")
    except SandboxFailed as failure:  # its text is the platform's own, and quotes no row
        sys.stderr.write(f"{failure}\n")
        sys.exit(GRADER_FAILED if isinstance(failure, GraderFailed) else SANDBOX_FAILED)
