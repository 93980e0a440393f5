"""Every operation of the OpenAPI document, called with generated requests under three keys, by schemathesis.

Nothing may be a server error or undocumented, and every error is problem JSON. The stateful phase follows ids
from one operation's answer to the next. The seed is in the output: `schemathesis run --seed N` repeats it.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from app.database import transaction
from app.ledger.platform.keys import Scope, create_key, create_project
from tests.star_client.recorded_platform import Platform

LEFT_OUT = [
    # These wait, take the key away, or are 503 without a server of a model (test_openai_completions.py).
    "--exclude-path-regex=stream$|/events$|^/v1/trials/|/revoke$|completions$|/merged$",
    "--exclude-operation-id=datasets_upload",  # takes files: tests/app/http/test_uploads.py
    "--exclude-operation-id=dataset_previews_preview",  # the same: tests/app/intake/test_previews.py
]


def schemathesis(
    server: Platform, key: str, examples: int, *more: str, phases: str = "coverage,fuzzing,stateful"
) -> str:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "run", f"{server.url}/openapi.json"),
            *("--header", f"Authorization: Bearer {key}", "--max-examples", str(examples)),
            *("--phases", phases, "--request-timeout", "60", "--no-color"),
            *("--generation-database", "none", *LEFT_OUT, *more),
        ],
        cwd=server.settings.home,  # where it leaves its cache
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2000:]
    return done.stdout


def operations_in(output: str) -> int:
    found = re.search(r"Tested: (\d+)", output)
    assert found is not None, output
    return int(found[1])


@pytest.fixture
def key(request: pytest.FixtureRequest, server: Platform, tmp_path: Path) -> str:
    """Of the owner, for whom there is a finished job; of another project; one that may only read."""
    server.submit(tmp_path, iterations=1)
    server.work()
    if request.param == "reader":
        return server.reader_key
    if request.param == "other":
        with transaction(server.engine) as session:
            return create_key(session, create_project(session, "other"), "other", [Scope.READ, Scope.SUBMIT])
    return server.key


# Left out: what a schema cannot say (a dataset's kind must fit its prompt set) refuses what it allows.
UNSAID = ("--exclude-checks", "positive_data_acceptance")


@pytest.mark.parametrize("key", ["owner"], indirect=True)
def test_no_generated_request_finds_an_error_or_an_answer_that_is_not_documented(
    server: Platform, key: str
) -> None:
    assert operations_in(schemathesis(server, key, 1, *UNSAID)) > 50
    assert 429 not in server.wire.statuses, "a limit answered in place of the operations"


@pytest.mark.parametrize("key", ["other", "reader"], indirect=True)
def test_what_is_refused_is_refused_as_documented(server: Platform, key: str) -> None:
    assert operations_in(schemathesis(server, key, 1, *UNSAID, phases="fuzzing")) > 50


@pytest.mark.long
@pytest.mark.parametrize("key", ["owner", "other", "reader"], indirect=True)
def test_no_request_of_many_finds_one_either(server: Platform, key: str) -> None:
    assert operations_in(schemathesis(server, key, 30, *UNSAID)) > 50
