"""A shell is offered the ids of what is there, by the call that its completion script makes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.star_client.conftest import Finished

STAR = Path(sys.executable).with_name("star")


def offered(typed: str, **environment: str) -> list[str]:
    """What bash shows for a line that has been begun; the last word is the one to complete."""
    words = {"COMP_WORDS": typed, "COMP_CWORD": str(len(typed.split(" ")) - 1)}
    asked = os.environ | {"_STAR_COMPLETE": "complete_bash"} | words | environment
    answer = subprocess.run([STAR], env=asked, capture_output=True, text=True, check=True)
    assert answer.stderr == ""
    return answer.stdout.split()


def test_ids_are_completed_from_the_platform(finished: Finished) -> None:
    where = {"STAR_URL": finished.server.url, "STAR_API_KEY": finished.server.key}
    job = finished.star.jobs.get(finished.job_id)
    assert finished.job_id in offered("star jobs get job_", **where)
    assert offered("star jobs get nothing", **where) == []
    assert job.dataset in offered("star datasets get ", **where)
    assert job.prompt_set in offered("star jobs create --prompt-set ps_", **where)
    assert job.model in offered("star jobs create --model ", **where)
    assert finished.star.adapters.list(job.id)[0].id in offered("star adapters get adp_", **where)


def test_nothing_is_offered_and_nothing_said_without_a_platform() -> None:
    assert offered("star jobs get job_", STAR_URL="http://127.0.0.1:9", STAR_API_KEY="star_x") == []
