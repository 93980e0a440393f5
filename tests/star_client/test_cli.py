"""The star command: what it prints, and with which status it ends."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.app.api_harness import MODEL, addition_rows, few_shot
from tests.star_client.conftest import Finished, Run
from tests.star_client.recorded_platform import Fault, Platform


def test_a_job_is_made_of_uploaded_files(run: Run, server: Platform, tmp_path: Path) -> None:
    rows, shots, config = tmp_path / "rows.jsonl", tmp_path / "shots.json", tmp_path / "config.yaml"
    rows.write_text(addition_rows())
    shots.write_text(json.dumps(few_shot()))
    config.write_text("iterations: 1\ngeneration: {max_tokens: 50}\n")
    upload = run(server, "datasets", "upload", rows, "--kind", "scratchpad", "--validation", 4, "--json")
    created = run(server, "prompt-sets", "create", shots, "--kind", "scratchpad", "--json")
    (dataset,), (prompt_set,) = upload.objects, created.objects
    ids = ("--model", MODEL, "--dataset", dataset["id"], "--prompt-set", prompt_set["id"])
    changes = ("--set", "generation.max_tokens=60", "--set", "training.lora.rank=4")
    words = ("--name", "mine", "--metadata", "team=a", "--json")
    made = run(server, "jobs", "create", *ids, "--config", config, *changes, *words)
    assert (upload.status, created.status, made.status) == (0, 0, 0)
    (job,) = made.objects
    assert (job["name"], job["metadata"], job["status"]) == ("mine", {"team": "a"}, "queued")
    assert job["config"]["training"]["schedule"]["kind"] == "epochs", "quick, for so few examples"
    assert "Preset quick, for 8 train examples" in made.err
    assert job["config"]["iterations"] == 1
    assert job["config"]["generation"]["max_tokens"] == 60
    assert job["config"]["training"]["lora"]["rank"] == 4
    assert [one["id"] for one in run(server, "jobs", "list", "--json").objects] == [job["id"]]
    assert [one["id"] for one in run(server, "datasets", "list", "--json").objects] == [dataset["id"]]
    assert [one["id"] for one in run(server, "models", "list", "--json").objects] == [MODEL]
    assert [one["id"] for one in run(server, "prompt-sets", "list", "--json").objects] == [prompt_set["id"]]


def test_a_job_is_described_anew(run: Run, server: Platform, tmp_path: Path) -> None:
    job_id = server.submit(tmp_path)
    words = ("--name", "sums", "--metadata", "team=a", "--metadata", "note=first try")
    [named] = run(server, "jobs", "describe", job_id, *words, "--json").objects
    assert (named["name"], named["metadata"]) == ("sums", {"team": "a", "note": "first try"})
    [fewer] = run(server, "jobs", "describe", job_id, "--remove", "note", "--json").objects
    assert fewer["metadata"] == {"team": "a"}


def test_a_prompt_set_is_made_from_the_published_text(run: Run, server: Platform, tmp_path: Path) -> None:
    text = tmp_path / "gsm8k.txt"
    text.write_text("Q: What is 2 plus 5?\nA: 2 + 5 = <<2+5=7>>7\n#### 7\n")
    created = run(server, "prompt-sets", "create", text, "--kind", "numeric", "--json")
    assert created.status == 0
    assert created.objects[0]["name"] == "gsm8k"


def test_what_is_deleted_is_gone_and_what_is_needed_is_refused_with_its_dependents(
    run: Run, server: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    job_id = server.submit(tmp_path)
    job = run(server, "jobs", "get", job_id, "--json").objects[0]
    refused = run(server, "datasets", "delete", job["dataset"], "--yes")
    assert (refused.status, job_id in refused.err) == (4, True)
    assert run(server, "jobs", "delete", job_id, "--yes").status == 4, "it is active"
    run(server, "jobs", "cancel", job_id)
    assert run(server, "jobs", "archive", job_id).status == 0
    assert run(server, "jobs", "list", "--json").objects == []
    assert [one["id"] for one in run(server, "jobs", "list", "--archived", "--json").objects] == [job_id]
    assert run(server, "jobs", "unarchive", job_id, "--json").objects[0]["archived_at"] is None
    assert run(server, "jobs", "delete", job_id).status == 1, "nobody has said yes"
    assert run(server, "jobs", "delete", job_id, "--yes").status == 0
    assert run(server, "jobs", "get", job_id).status == 3
    assert run(server, "datasets", "delete", job["dataset"], "--yes").status == 0
    assert run(server, "prompt-sets", "delete", job["prompt_set"], "--yes").status == 0


def test_people_get_tables(run: Run, finished: Finished) -> None:
    listed = run(finished.server, "jobs", "list")
    assert listed.status == 0
    assert finished.job_id in listed.out
    assert "succeeded" in listed.out
    assert "0 (few-shot)" in run(finished.server, "iterations", finished.job_id).out
    assert (
        "rationalized" in run(finished.server, "rationales", finished.job_id, "--route", "rationalized").out
    )
    shown = run(finished.server, "jobs", "get", finished.job_id)
    assert finished.star.jobs.answer(finished.job_id).sentence in shown.out
    assert "Best adapter: adp_" in shown.out


def test_scripts_get_json(run: Run, finished: Finished) -> None:
    server, job_id = finished.server, finished.job_id
    assert run(server, "jobs", "get", job_id, "--json").objects[0]["is_terminal"] is True
    numbers = [one["number"] for one in run(server, "iterations", job_id, "--json").objects]
    assert numbers == [0, 1, 2]
    assert [one["iteration"] for one in run(server, "adapters", "list", job_id, "--json").objects] == [1, 2]
    found = run(
        server, "rationales", job_id, "--iteration", 1, "--decision", "kept", "--limit", 3, "--json"
    ).objects
    assert [(one["object"], one["iteration"], one["decision"]) for one in found] == [
        ("rationale", 1, "kept")
    ] * 3
    everything = run(server, "rationales", job_id, "--limit", 0, "--json").objects
    assert len(everything) > 20


def test_a_report_is_written_in_the_form_that_is_asked(run: Run, finished: Finished) -> None:
    text = run(finished.server, "jobs", "report", finished.job_id)
    assert (text.status, text.out.splitlines()[0][:16]) == (0, "# STaR report: a")
    [found] = run(finished.server, "jobs", "report", finished.job_id, "--format", "json").objects
    assert (found["object"], found["job"]) == ("report", finished.job_id)
    assert run(finished.server, "jobs", "report", finished.job_id, "--format", "pdf").status == 2
    assert run(finished.server, "jobs", "report", "job_none").status == 3


def test_one_rationale_is_shown_with_its_hint_and_its_training_row(run: Run, finished: Finished) -> None:
    found = run(finished.server, "rationales", finished.job_id, "--route", "rationalized", "--json").objects[
        0
    ]
    shown = run(finished.server, "rationales", finished.job_id, "--show", found["id"])
    assert shown.status == 0
    assert "hint" in shown.out.splitlines()
    assert "training row" in shown.out.splitlines()


def test_the_best_adapter_of_a_job_is_downloaded(run: Run, finished: Finished, tmp_path: Path) -> None:
    target = tmp_path / "adapter"
    result = run(finished.server, "adapters", "download", finished.job_id, target)
    assert result.status == 0
    assert set(result.out.split()) == {str(path) for path in target.iterdir()}
    assert {"adapter_config.json", "adapter_model.safetensors"} <= {path.name for path in target.iterdir()}


def test_a_damaged_download_ends_with_9(run: Run, finished: Finished, tmp_path: Path) -> None:
    finished.server.wire.faults = [Fault("adapter_model.safetensors", times=1, flip=True)]
    assert run(finished.server, "adapters", "download", finished.job_id, tmp_path).status == 9


def test_a_watched_job_that_succeeds_ends_with_0(run: Run, finished: Finished) -> None:
    result = run(finished.server, "jobs", "watch", finished.job_id, "--json")
    assert result.status == 0
    assert result.objects[0]["type"] == "job.created"
    assert (result.objects[-1]["object"], result.objects[-1]["status"]) == ("job", "succeeded")


def test_a_watched_job_that_fails_ends_with_1(run: Run, server: Platform, tmp_path: Path) -> None:
    job_id = server.submit(tmp_path)
    (server.settings.home / "model" / "model.safetensors").write_bytes(b"other weights")
    server.work()
    result = run(server, "jobs", "watch", job_id)
    assert result.status == 1
    assert "bad_artifact: " in result.out


def test_a_watched_job_that_is_paused_ends_with_7(run: Run, server: Platform, tmp_path: Path) -> None:
    job_id = server.submit(tmp_path)
    assert run(server, "jobs", "pause", job_id).status == 0
    assert run(server, "jobs", "watch", job_id).status == 7
    assert run(server, "jobs", "resume", job_id, "--json").objects[0]["status"] == "queued"


def test_a_watched_job_that_is_cancelled_ends_with_8(run: Run, server: Platform, tmp_path: Path) -> None:
    job_id = server.submit(tmp_path)
    assert run(server, "jobs", "cancel", job_id).status == 0
    assert run(server, "jobs", "watch", job_id).status == 8


def test_what_is_not_found_ends_with_3(run: Run, server: Platform) -> None:
    result = run(server, "jobs", "get", "job_nothing", "--json")
    assert (result.status, result.out) == (3, "")
    assert (
        json.loads(result.err.splitlines()[-1])["code"] == "not_found"
    )  # the lines before are the server's log


def test_a_refused_upload_ends_with_4_and_names_the_line(run: Run, server: Platform, tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"question": "1 + 1"}\n')
    result = run(server, "datasets", "upload", rows, "--kind", "scratchpad")
    assert result.status == 4
    assert "line 1, answer:" in result.err


def test_a_wrong_key_ends_with_5(run: Run, server: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STAR_URL", server.url)
    monkeypatch.setenv("STAR_API_KEY", "star_wrong")
    assert run(None, "jobs", "list").status == 5


def test_a_server_that_is_not_there_ends_with_6(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    monkeypatch.setenv("STAR_API_KEY", "star_key")
    result = run(None, "--url", f"http://127.0.0.1:{port}", "jobs", "list")
    assert result.status == 6
    assert "does not answer" in result.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["jobs", "create", "--model", "tiny"],
        ["jobs", "fly"],
        ["datasets", "upload", "no-such-file.jsonl", "--kind", "numeric"],
        ["rationales", "job_1", "--limit", "many"],
        ["jobs", "create", "--model", "m", "--dataset", "d", "--prompt-set", "p", "--set", "iterations"],
        ["jobs", "create", "--model", "m", "--dataset", "d", "--prompt-set", "p", "--set", "iterations=[1"],
    ],
)
def test_wrong_usage_ends_with_2(run: Run, server: Platform, arguments: list[str]) -> None:
    assert run(server, *arguments).status == 2
    assert server.wire.requests == []


def test_interrupting_a_watch_ends_with_130_and_leaves_the_job_alone(
    server: Platform, tmp_path: Path
) -> None:
    job_id = server.submit(tmp_path)
    server.wire.requests.clear()
    command = [sys.executable, "-m", "star_client.cli.main", "jobs", "watch", job_id]
    environment = {**os.environ, "STAR_URL": server.url, "STAR_API_KEY": server.key}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as watching:
        assert watching.stdout is not None
        assert "job.created" in watching.stdout.readline()
        watching.send_signal(signal.SIGINT)
        _, err = watching.communicate()
    assert watching.returncode == 130
    assert err == f"The job goes on. See it again: star jobs watch {job_id}\n"
    with server.client() as star:
        assert star.jobs.get(job_id).status == "queued"


def test_help_names_the_exit_statuses(run: Run) -> None:
    result = run(None, "--help")
    assert result.status == 0
    assert "7 the job is paused" in " ".join(result.out.split())
