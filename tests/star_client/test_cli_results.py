"""The `star` command on a job that is done, and on what a team shares."""

from __future__ import annotations

import json
from pathlib import Path

from pyarrow.parquet import read_table

from tests.app.api_harness import MODEL
from tests.star_client.conftest import Finished, Run
from tests.star_client.recorded_platform import Platform


def ids_of(finished: Finished) -> tuple[str, ...]:
    job = finished.star.jobs.get(finished.job_id)
    return ("--model", job.model, "--dataset", job.dataset, "--prompt-set", job.prompt_set)


def test_a_dry_run_shows_the_estimate_or_why_there_is_none(run: Run, finished: Finished) -> None:
    words = ("--budget-gpu-seconds", 60, "--deadline", 3600, "--set", "iterations=1")
    shown = run(finished.server, "jobs", "create", *ids_of(finished), *words, "--dry-run")
    assert shown.status == 0
    assert "GPU-seconds" in shown.out
    [found] = run(finished.server, "jobs", "create", *ids_of(finished), *words, "--dry-run", "--json").objects
    assert (found["budget"]["gpu_seconds"], found["config"]["iterations"]) == (60, 1)


def test_the_coach_is_heard_with_settings_that_create_takes(run: Run, finished: Finished) -> None:
    said = run(finished.server, "jobs", "advice", finished.job_id, "--iteration", 1)
    assert said.status == 0
    settings = [
        line.strip().split(" ", 1)[1] for line in said.out.splitlines() if line.startswith("  --set ")
    ]
    found = finished.star.jobs.advice(finished.job_id, 1)
    assert all(one.saw in said.out for one in found)
    assert "generation.samples_per_example=8" in settings
    words = [word for setting in settings for word in ("--set", setting)]
    made = run(finished.server, "jobs", "create", *ids_of(finished), *words, "--dry-run", "--json")
    assert made.objects[0]["config"]["generation"]["samples_per_example"] == 8
    first = run(finished.server, "jobs", "advice", finished.job_id, "--iteration", 0, "--json").objects
    assert [one["code"] for one in first] == [
        one.code for one in finished.star.jobs.advice(finished.job_id, 0)
    ]


def test_the_layout_is_chosen_and_what_does_not_fit_the_model_is_said(run: Run, finished: Finished) -> None:
    words = ("jobs", "create", *ids_of(finished), "--set", "iterations=1", "--dry-run", "--json")
    [found] = run(finished.server, *words, "--layout", "completion").objects
    assert found["config"]["layout"] == "completion"
    refused = run(finished.server, *words, "--layout", "chat", "--system", "Be brief.", "--thinking", "off")
    assert refused.status != 0
    assert "chat template" in " ".join(refused.err.split())


def test_a_job_is_created_with_a_baseline_once(run: Run, server: Platform, tmp_path: Path) -> None:
    server.submit(tmp_path)
    with server.client() as star:
        [job] = star.jobs.list().data
        ids = ("--model", job.model, "--dataset", job.dataset, "--prompt-set", job.prompt_set)
        words = (*ids, "--set", "iterations=1", "--baseline", "direct-fine-tune", "--json")
        [made] = run(server, "jobs", "create", *words, "--idempotency-key", "once").objects
        [again] = run(server, "jobs", "create", *words, "--idempotency-key", "once").objects
        assert again["id"] == made["id"]
        assert len(made["baselines"]) == 1
        assert run(server, "jobs", "cancel", made["id"], "--baselines").status == 0
        assert [one.id for one in star.jobs.list(status=["queued", "running"]).data] == [job.id]


def test_a_deadline_is_seconds_or_a_time(run: Run, finished: Finished) -> None:
    words = ("jobs", "create", *ids_of(finished), "--dry-run", "--json", "--deadline")
    [found] = run(finished.server, *words, "2100-01-31T12:00:00Z").objects
    assert found["budget"]["deadline"].startswith("2100-01-31T12:00:00")
    refused = run(finished.server, *words, "tomorrow")
    assert (refused.status, "neither seconds nor a time" in " ".join(refused.err.split())) == (2, True)


def test_a_job_is_forked_and_regraded(run: Run, finished: Finished) -> None:
    server, job_id = finished.server, finished.job_id
    [fork] = run(server, "jobs", "fork", job_id, "--from", 1, "--set", "iterations=3", "--json").objects
    assert (fork["forked_from"]["job"], fork["iterations"]) == (job_id, 3)
    assert run(server, "jobs", "cancel", fork["id"]).status == 0
    shown = run(server, "jobs", "regrade", job_id, "--kind", "exact", "--iteration", 1)
    assert "->" in shown.out
    assert run(server, "jobs", "regrade", job_id, "--set", "iterations=3").status == 2
    assert "newly solved" in run(server, "jobs", "coverage", job_id).out


def test_rationales_are_found_by_their_text_and_overridden(run: Run, finished: Finished) -> None:
    server, job_id = finished.server, finished.job_id
    found = run(server, "rationales", job_id, "--decision", "kept", "--text", "<scratch>", "--json").objects
    assert found
    assert run(server, "rationales", job_id, "--text", "no such words", "--json").objects == []
    words = ("--verdict", "wrong", "--reason", "The carry is skipped.")
    [made] = run(server, "rationales", "override", job_id, found[-1]["id"], *words, "--json").objects
    assert made["verdict"] == "wrong"
    assert made["id"] in run(server, "rationales", "overrides", job_id, found[-1]["id"]).out


def test_an_adapter_is_asked_pinned_and_kept(run: Run, finished: Finished) -> None:
    server, last = finished.server, f"{finished.job_id}:last"
    with server.attending():
        asked = run(server, "adapters", "ask", last, "1 2 + 3 4", "--beside-base", "--json")
        dataset = finished.star.jobs.get(finished.job_id).dataset
        words = ("--dataset", dataset, "--split", "validation", "--max-examples", 2, "--watch")
        measured = run(server, "adapters", "evaluate", last, *words)
    assert (asked.status, measured.status) == (0, 0)
    assert {one["asked"] for one in asked.objects} == {"adapter", "base"}
    assert run(server, "adapters", "pin", last).status == 0
    assert run(server, "adapters", "delete", last).status == 4
    assert run(server, "adapters", "unpin", last).status == 0
    assert len(run(server, "adapters", "list", "--json").objects) >= 2


def test_what_was_not_solved_and_trained_on_is_written(run: Run, finished: Finished, tmp_path: Path) -> None:
    server, job_id = finished.server, finished.job_id
    assert run(server, "jobs", "training-set", job_id, 1, tmp_path / "set.jsonl").status == 0
    rows = (tmp_path / "set.jsonl").read_text().splitlines()
    assert {"prompt", "completion"} <= json.loads(rows[0]).keys()
    pairs = tmp_path / "pairs.jsonl"
    assert run(server, "jobs", "pairs", job_id, 1, pairs, "--shape", "kto").status == 0
    labels = [json.loads(line)["label"] for line in pairs.read_text().splitlines()]
    assert labels.count(True) == len(rows)
    assert run(server, "jobs", "never-solved", job_id, tmp_path / "never.jsonl").status == 0
    assert (tmp_path / "never.jsonl").exists()


def test_columns_are_mapped_and_their_statistics_shown(run: Run, server: Platform, tmp_path: Path) -> None:
    rows, shots = tmp_path / "rows.csv", tmp_path / "shots.json"
    rows.write_text("prompt,a,b,label\n" + "".join(f"Which is {n}?,{n},{n + 1},a\n" for n in range(6)))
    words = ("--map", "question=prompt", "--map", "choices=a,b", "--map", "answer=label")
    [dataset] = run(server, "datasets", "upload", rows, "--kind", "choice", *words, "--json").objects
    assert dataset["splits"] == {"train": 6}
    shots.write_text(
        json.dumps(
            [
                {
                    "question": "Which is red?",
                    "choices": ["blood", "sky"],
                    "rationale": "Blood is red. Therefore, the answer is blood (a).",
                    "answer": "a",
                }
            ]
        )
    )
    [made] = run(server, "prompt-sets", "create", shots, "--kind", "choice", "--json").objects
    shown = run(server, "datasets", "stats", dataset["id"], "--model", MODEL, "--prompt-set", made["id"])
    assert "tokens:" in shown.out
    preview = run(
        server, "prompt-sets", "preview", made["id"], "--dataset", dataset["id"], "--example", "row-2"
    )
    assert "Which is 0?" in preview.out
    assert "(CORRECT)" in preview.out
    assert run(server, "datasets", "upload", rows, "--kind", "choice", "--map", "question").status == 2


def test_a_team_sees_its_keys_usage_quota_and_audit(run: Run, finished: Finished) -> None:
    server = finished.server
    [key] = run(server, "keys", "create", "ci", "--scope", "read", "--json").objects
    assert key["key"]
    assert key["id"] in run(server, "keys", "list").out
    assert run(server, "keys", "revoke", key["id"]).status == 0
    assert key["id"] in run(server, "audit", "--target", key["id"]).out
    assert "GPU-seconds in all" in run(server, "usage", "--job", finished.job_id).out
    assert "limit none" in run(server, "quota").out
    assert run(server, "projects", "list").status == 0


def test_a_webhook_into_a_private_network_is_refused(run: Run, server: Platform) -> None:
    refused = run(server, "webhooks", "create", "https://127.0.0.1/hook")
    assert refused.status == 4
    assert run(server, "webhooks", "list", "--json").objects == []


def test_a_webhook_shows_its_secret_once(run: Run, server: Platform) -> None:
    [made] = run(server, "webhooks", "create", "https://1.1.1.1/hook", "--json").objects
    assert made["secret"].startswith("whsec_")
    assert "whsec_" not in run(server, "webhooks", "list").out
    [rotated] = run(server, "webhooks", "rotate-secret", made["id"], "--grace", 60, "--json").objects
    assert rotated["secret"] not in (None, made["secret"])
    assert "no" in run(server, "webhooks", "disable", made["id"]).out
    assert run(server, "webhooks", "deliveries", made["id"], "--json").objects == []
    assert run(server, "webhooks", "redeliver", made["id"], "msg_x").status == 3
    assert run(server, "webhooks", "delete", made["id"]).status == 0
    assert run(server, "webhooks", "delete", made["id"]).status == 3


def test_held_out_answers_are_listed_and_read_in_full(run: Run, finished: Finished) -> None:
    server, job_id = finished.server, finished.job_id
    found = run(server, "answers", job_id, "--iteration", 1, "--json").objects
    assert {one["mode"] for one in found} == {"adapter"}
    full = run(server, "answers", job_id, "--iteration", 1, "--against", "few_shot_cot", "--full").out
    assert found[0]["text"].strip().splitlines()[-1] in full
    assert "compared with, " in full


def test_many_answers_to_a_question_are_listed_saved_and_summed_up(
    run: Run, finished: Finished, tmp_path: Path
) -> None:
    server, job_id = finished.server, finished.job_id
    base, last = run(server, "test-time", job_id, "--json").objects
    assert (base["iteration"], last["iteration"], last["ks"]) == (0, 2, [1, 2])
    printed = run(server, "test-time", job_id).out
    assert "majority" in printed
    assert f"{100 * last['curves']['pass'][1]['value']:.1f}%" in printed
    listed = run(server, "candidates", job_id, "--iteration", 2, "--limit", 0, "--json").objects
    assert len(listed) == 2 * last["n"]
    assert {one["sample"] for one in listed} == {0, 1}
    assert "logprob" in run(server, "candidates", job_id).out
    for name in ("answers.jsonl", "answers.parquet"):
        assert run(server, "candidates", job_id, "--iteration", 2, "--output", tmp_path / name).status == 0
    lines = [json.loads(line) for line in (tmp_path / "answers.jsonl").read_text().splitlines()]
    rows = read_table(tmp_path / "answers.parquet").to_pylist()
    assert rows == lines
    assert [(row["sample"], row["text"]) for row in rows] == [(one["sample"], one["text"]) for one in listed]


def test_the_curve_of_a_training_is_printed_and_exported(run: Run, finished: Finished) -> None:
    server, job_id = finished.server, finished.job_id
    steps = run(server, "jobs", "curve", job_id, 1, "--json").objects
    exported = run(server, "jobs", "curve", job_id, 1, "--csv").out.splitlines()
    assert len(exported) == len(steps) + 1
    assert "gradient norm" in run(server, "jobs", "curve", job_id, 1).out


def test_words_are_found_in_the_texts_of_all_jobs(run: Run, finished: Finished) -> None:
    of_one = ("--in", "rationale", "--job", finished.job_id, "--limit", 3, "--json")
    found = run(finished.server, "search", "c:", *of_one).objects
    assert [(one["found_in"], one["job"]) for one in found] == [("rationale", finished.job_id)] * 3
    shown = run(finished.server, "search", "0 7", "c:", "--job", finished.job_id)
    assert shown.status == 0
    assert all("0 7" in one.snippet or one.marks for one in finished.star.search.every('"0 7" c:'))
    assert run(finished.server, "search", "zebra", "--json").objects == []


def test_a_report_is_shared_listed_and_the_link_revoked(run: Run, finished: Finished) -> None:
    said = run(finished.server, "jobs", "share", finished.job_id, "--days", 7, "--note", "for Ann")
    assert said.status == 0
    assert said.out.startswith(f"{finished.server.url}/shared/shr_")
    [listed, *_] = run(finished.server, "jobs", "share", finished.job_id, "--list", "--json").objects
    assert (listed["note"], listed["url"]) == ("for Ann", None)
    [ended] = run(finished.server, "jobs", "share", "--revoke", listed["id"], "--json").objects
    assert ended["revoked_at"]
    assert run(finished.server, "sharing").out.split() == ["links", "to", "reports", "allowed"]
    assert run(finished.server, "jobs", "share").status == 2
