"""What an SDK user has at hand is uploaded, and what comes back is a table: the real application answers."""

from __future__ import annotations

import asyncio
import copy
import json
import threading
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from app.tables.statuses import JobStatus
from star_client import AsyncStarClient, to_pandas
from star_client.cli import invocation
from star_client.cli.main import app
from star_client.cli.printing import amount, percent
from star_client.client import StarClient
from star_client.interop.rows import as_json_lines
from star_client.jobs import Jobs
from star_engine.tasks.kind import Kind
from tests.app.api_harness import addition_rows
from tests.star_client.conftest import Finished
from tests.star_client.recorded_platform import Platform

ROWS: list[dict[str, Any]] = [json.loads(row) for row in addition_rows().splitlines()]


def test_a_text_path_rows_and_a_frame_are_the_same_examples(star: StarClient, tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(addition_rows())
    sources: dict[str, Any] = {"path": str(file), "rows": iter(ROWS), "frame": pd.DataFrame(ROWS)}
    found = {
        name: [
            one.answer
            for one in star.datasets.examples(star.datasets.upload(source, kind="scratchpad", name=name).id)
        ]
        for name, source in sources.items()
    }
    assert found["path"] == found["rows"] == found["frame"]
    assert len(found["rows"]) == 12


def test_rows_without_a_name_or_that_are_none_are_refused_before_anything_is_sent(star: StarClient) -> None:
    with pytest.raises(ValueError, match="give `name`"):
        star.datasets.upload(ROWS, kind="scratchpad")
    with pytest.raises(TypeError, match="Row 2 is a str"):
        as_json_lines([ROWS[0], "4 + 1"])
    with pytest.raises(TypeError, match="A dict is no dataset"):
        as_json_lines(ROWS[0])


def test_empty_cells_are_left_out_and_arrays_are_lists() -> None:
    frame = pd.DataFrame(
        {"question": ["a", "b"], "group": ["x", None], "choices": [np.array(["1", "2"]), None]}
    )
    first, second = map(json.loads, as_json_lines(frame).splitlines())
    assert first == {"question": "a", "group": "x", "choices": ["1", "2"]}
    assert second == {"question": "b"}


def test_a_missing_value_of_whichever_type_is_an_empty_cell() -> None:
    missing = [None, float("nan"), np.float32("nan"), np.datetime64("NaT"), pd.NaT, pd.NA, Decimal("NaN")]
    for value in missing:
        assert as_json_lines([{"question": "a", "group": value}]) == b'{"question": "a"}\n', repr(value)
    frame = pd.DataFrame({"question": ["a"], "answer": pd.array([None], dtype="string")})
    assert as_json_lines(frame) == b'{"question": "a"}\n'


@pytest.mark.parametrize(
    "value",
    [float("inf"), [float("nan")], np.array([1.0, np.nan]), {1}, b"x", object(), "\ud800", {(1, 2): 3}, int],
)
def test_what_json_has_no_form_of_is_refused_with_its_row_and_field(value: object) -> None:
    with pytest.raises(TypeError, match=r"Row 2, answer: .*Give text"):
        as_json_lines([ROWS[0], {"question": "a", "answer": value}])


def test_numbers_dates_and_flags_of_other_types_are_plain() -> None:
    row = {"a": Decimal("1.50"), "b": date(2026, 1, 31), "c": np.int64(3), "d": np.bool_(True), "e": (1, 2)}
    assert json.loads(as_json_lines([row])) == {
        "a": "1.50",
        "b": "2026-01-31",
        "c": 3,
        "d": True,
        "e": [1, 2],
    }


def test_a_page_and_all_pages_become_frames(finished: Finished) -> None:
    rationales = finished.star.rationales
    every = list(rationales.every(finished.job_id))
    frame = to_pandas(every)
    assert list(frame["id"]) == [one.id for one in every]
    assert set(frame["example.question"]) == {one.example.question for one in every}
    page = rationales.list(finished.job_id, limit=2)
    assert list(page.to_pandas()["id"]) == [one.id for one in page.data]


def test_waiting_ends_with_the_job_when_it_is_paused_or_when_patience_is_lost(
    finished: Finished, server: Platform, star: StarClient, tmp_path: Path
) -> None:
    assert finished.star.jobs.wait(finished.job_id).status == "succeeded"
    queued = server.submit(tmp_path)
    with pytest.raises(TimeoutError, match=f"{queued} is still queued"):
        star.jobs.wait(queued, patience=0)
    star.jobs.pause(queued)
    assert star.jobs.wait(queued).status == "paused"


def test_the_asynchronous_client_awaits_one_object_and_iterates_over_many(finished: Finished) -> None:
    async def ask() -> tuple[str, list[str]]:
        async with AsyncStarClient(finished.server.url, finished.server.key) as star:
            job = await star.jobs.get(finished.job_id)
            return job.id, [one.id async for one in star.rationales.every(finished.job_id)]

    job, rationales = asyncio.run(ask())
    assert job == finished.job_id
    assert rationales == [one.id for one in finished.star.rationales.every(finished.job_id)]


def test_many_calls_that_wait_hinder_neither_others_nor_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = threading.Event()
    monkeypatch.setattr(Jobs, "wait", lambda self: closed.wait())
    monkeypatch.setattr(Jobs, "get", lambda self, job: job)
    monkeypatch.setattr(StarClient, "close", lambda self: closed.set())

    async def ask() -> str:
        async with AsyncStarClient("http://127.0.0.1:9", "star_key") as star:
            waiting = [
                asyncio.create_task(star.jobs.wait()) for _ in range(40)
            ]  # more than the loop's threads
            got: str = await asyncio.wait_for(star.jobs.get("job_1"), 30)
            for one in waiting:
                one.cancel()
            ended = await asyncio.gather(*waiting, return_exceptions=True)
            assert {type(one) for one in ended} == {asyncio.CancelledError}
        return got

    assert asyncio.run(ask()) == "job_1"
    assert closed.is_set()


def test_an_asynchronous_client_that_is_copied_or_misspelt_says_so() -> None:
    star = AsyncStarClient("http://127.0.0.1:9", "star_key")
    with pytest.raises(AttributeError, match="job"):
        _ = star.job
    assert copy.copy(star).base_url == star.base_url
    asyncio.run(star.close())


def test_the_words_that_the_command_completes_are_those_of_the_platform() -> None:
    assert {one.value for one in invocation.Kind} == {one.value for one in Kind}
    assert {one.value for one in invocation.JobStatus} == {one.value for one in JobStatus}


def test_a_word_that_no_option_takes_is_wrong_usage() -> None:
    ended = CliRunner().invoke(app, ["presets", "list", "--kind", "numbers"])
    assert ended.exit_code == 2
    assert "'numeric'" in ended.output


def test_shares_and_amounts_are_written_in_one_way() -> None:
    assert (percent(0.36), percent(None), amount(41879500.0), amount(0.5)) == (
        "36.0 %",
        "",
        "41,879,500",
        "0.5",
    )
