"""Following a job on a terminal and in a log."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from star_client.cli.watch import (
    iteration_table,
    outcome,
    progress_line,
    snapshots,
    verdict_line,
    watch_job,
)
from star_client.client import StarClient
from star_client.objects import Iteration, Progress
from star_client.objects_results import Answer
from tests.star_client.conftest import Finished
from tests.star_client.recorded_platform import Platform


def watch(star: StarClient, job_id: str, terminal: bool) -> tuple[str, str]:
    """The job's last status, and what was shown."""
    console = Console(file=io.StringIO(), force_terminal=terminal, width=120, height=50)
    job = watch_job(star, job_id, console)
    console.print(outcome(job))
    assert isinstance(console.file, io.StringIO)
    return job.status, console.file.getvalue()


def test_snapshots_of_a_running_job_show_every_event_once(
    star: StarClient, server: Platform, tmp_path: Path
) -> None:
    job_id = server.submit(tmp_path, iterations=1)
    with server.working():
        seen = list(snapshots(star, job_id))
    events = [event for snapshot in seen for event in snapshot.events]
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert events[-1].type == "job.succeeded"
    assert [snapshot.job.is_terminal for snapshot in seen] == [False] * (len(seen) - 1) + [True]
    assert [iteration.number for iteration in seen[-1].iterations] == [0, 1]


def test_a_terminal_sees_a_row_per_iteration(finished: Finished) -> None:
    status, shown = watch(finished.star, finished.job_id, terminal=True)
    assert status == "succeeded"
    assert "0 (few-shot)" in shown
    assert "100.0 %" in shown
    assert "iteration 2 of 2" in shown
    assert "Best adapter: adp_" in shown


def test_a_terminal_sees_a_bar_per_phase_of_a_running_job(
    star: StarClient, server: Platform, tmp_path: Path
) -> None:
    job_id = server.submit(tmp_path, iterations=1)
    with server.working():
        _, shown = watch(star, job_id, terminal=True)
    assert "baselines" in shown
    assert "━" in shown


def test_a_log_gets_plain_lines(finished: Finished) -> None:
    status, shown = watch(finished.star, finished.job_id, terminal=False)
    assert status == "succeeded"
    assert "\x1b" not in shown
    lines = shown.splitlines()
    assert " job.created name=addition " in lines[0]
    assert sum(" phase.finished phase=sample " in line for line in lines) == 2
    assert any(line.startswith("2 ") and line.rstrip().endswith(" s") for line in lines)


def test_a_job_that_pauses_itself_ends_the_watch_with_its_diagnosis(
    star: StarClient, server: Platform, tmp_path: Path
) -> None:
    job_id = server.submit(tmp_path, generation={"max_tokens": 3}, audits={"spark_level": None})
    server.work()
    status, shown = watch(star, job_id, terminal=False)
    assert status == "paused"
    assert "insufficient_kept: " in shown
    assert "max_tokens" in shown


def test_each_route_of_a_job_has_its_column() -> None:
    def shown(*coverages: dict[str, float]) -> Sequence[object]:
        rows = [
            Iteration.model_validate(
                {
                    "id": f"it_{number}", "object": "iteration", "job": "job_1", "number": number,
                    "metrics": {"coverage": found}, "created_at": "2026-01-01T00:00:00Z",
                }
            )
            for number, found in enumerate(coverages)
        ]  # fmt: skip
        return [column.header for column in iteration_table(tuple(rows)).columns][2:-4]

    assert shown({}) == ["generated", "rationalized"]
    assert shown({}, {"generated": 0.1, "hinted": 0.5, "total": 0.6}) == ["generated", "hinted"]
    assert shown({}, {"given": 1.0, "total": 1.0}) == ["given"]


def test_brackets_in_names_are_no_markup(star: StarClient, server: Platform, tmp_path: Path) -> None:
    job_id = server.submit(tmp_path)
    job = star.jobs.get(job_id)
    with_brackets = star.jobs.create(
        model=job.model, dataset=job.dataset, prompt_set=job.prompt_set, name="[bold]mine[/nothing]"
    )
    star.jobs.cancel(with_brackets.id)
    _, shown = watch(star, with_brackets.id, terminal=True)
    assert "[bold]mine[/nothing]" in shown


def test_a_verdict_is_a_word_and_a_colour() -> None:
    said = {
        verdict: verdict_line(Answer(verdict=verdict, sentence="Because."))
        for verdict in ("helped", "no_difference", "worse", "unknown")
    }
    assert [str(text) for text in said.values()] == [
        "Helped. Because.", "No difference. Because.", "Worse. Because.", "Not known yet. Because."
    ]  # fmt: skip
    colours = [text.spans[0].style for text in said.values()]
    assert colours == ["bold green", "bold yellow", "bold red", "bold"]


def test_a_log_says_that_the_model_is_being_loaded(finished: Finished) -> None:
    job = finished.star.jobs.get(finished.job_id)
    loading = job.model_copy(
        update={"phase": "baselines", "iteration": 0, "progress": Progress(total=20, loading_seconds=40)}
    )
    assert progress_line(loading) == "baselines of iteration 0: loading the model"
