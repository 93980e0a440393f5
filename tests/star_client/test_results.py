"""What can be done with a job that is done, through the SDK."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from star_client.errors import Refused
from tests.app.api_harness import MODEL, few_shot
from tests.star_client.conftest import Finished


def test_a_dry_run_makes_no_job(finished: Finished) -> None:
    job = finished.star.jobs.get(finished.job_id)
    count = len(finished.star.jobs.list(limit=100).data)
    found = finished.star.jobs.dry_run(
        model=job.model,
        dataset=job.dataset,
        prompt_set=job.prompt_set,
        config={"iterations": 3},
        budget={"gpu_seconds": 60.0},
    )
    assert found.config["iterations"] == 3
    assert found.budget["gpu_seconds"] == 60
    assert found.preview
    assert (found.estimate.seconds is None) == ("seconds" in found.estimate.unavailable)
    assert len(finished.star.jobs.list(limit=100).data) == count


def test_an_equal_job_is_answered_where_that_is_asked_for(finished: Finished) -> None:
    job = finished.star.jobs.get(finished.job_id)
    config = {
        "iterations": 2,
        "generation": {"max_tokens": 100},
        "training": {"schedule": {"kind": "linear", "start": 3, "add": 1}, "batch_size": 4},
        "evaluation": {"test_time": {"samples": 2}},
    }
    again = finished.star.jobs.create(
        model=job.model, dataset=job.dataset, prompt_set=job.prompt_set, config=config, return_equal=True
    )
    assert again.id == finished.job_id


def test_a_fork_goes_on_from_an_iteration_under_one_key(finished: Finished) -> None:
    fork = finished.star.jobs.fork(finished.job_id, 1, name="other", idempotency_key="fork-1")
    again = finished.star.jobs.fork(finished.job_id, 1, name="other", idempotency_key="fork-1")
    assert again.id == fork.id
    assert fork.forked_from is not None
    assert fork.forked_from["job"] == finished.job_id
    assert finished.star.jobs.cancel(fork.id, baselines=True).status == "cancelled"


def test_a_regrade_shows_what_other_filters_would_keep(finished: Finished) -> None:
    same = finished.star.jobs.regrade(finished.job_id)
    assert [one.iteration for one in same.iterations] == [1, 2]
    assert all(one.recorded == one.regraded for one in same.iterations)
    other = finished.star.jobs.regrade(finished.job_id, iteration=1, kind="exact")
    assert other.iterations[0].regraded.kept != other.iterations[0].recorded.kept
    assert other.changes.data[0].before != other.changes.data[0].after


def test_coverage_is_told_for_each_iteration(finished: Finished) -> None:
    found = finished.star.jobs.coverage(finished.job_id)
    assert [one.iteration for one in found][-2:] == [1, 2]
    assert found[-1].churn is not None
    assert found[-1].coverage is not None


def test_a_reviewer_has_the_last_word_on_a_text(finished: Finished) -> None:
    star, job_id = finished.star, finished.job_id
    kept = star.rationales.list(job_id, decision="kept", limit=1).data[0]
    assert star.rationales.list(job_id, text=kept.text[:20], limit=1).data
    made = star.rationales.override(job_id, kept.id, verdict="wrong", reason="A lucky guess.")
    assert (made.verdict, made.honoured_from) == ("wrong", None)  # the job is over: a fork will honour it
    assert [one.id for one in star.rationales.overrides(job_id, kept.id)] == [made.id]


def test_an_adapter_answers_beside_its_base_model_and_is_measured(finished: Finished) -> None:
    star, alias = finished.star, f"{finished.job_id}:best"
    asked = star.adapters.generate(alias, [{"question": "1 2 + 3 4", "answer": "4 6"}], beside_base=True)
    dataset = star.jobs.get(finished.job_id).dataset
    evaluation = star.adapters.evaluate(alias, dataset, split="validation", max_examples=4)
    finished.server.work()
    trial = star.adapters.trial(asked.id, wait=30)
    assert trial.status == "succeeded"
    assert {answer.asked for answer in trial.answers} == {"adapter", "base"}
    assert all(answer.verdict for answer in trial.answers)
    measured = star.jobs.get(evaluation.id)
    assert (measured.status, measured.purpose) == ("succeeded", "evaluation")


def test_a_pinned_adapter_is_not_deleted(finished: Finished) -> None:
    adapter = finished.star.adapters.pin(f"{finished.job_id}:last")
    assert adapter.pinned
    with pytest.raises(Refused, match="pinned"):
        finished.star.adapters.delete(adapter.id)
    assert not finished.star.adapters.pin(adapter.id, pinned=False).pinned
    assert adapter.id in [one.id for one in finished.star.adapters.list_all(model=MODEL).data]


def test_training_set_never_solved_and_archive_come_as_files(finished: Finished, tmp_path: Path) -> None:
    star, job_id = finished.star, finished.job_id
    rows = star.jobs.download_training_set(job_id, 1, tmp_path / "set.parquet", format="parquet")
    assert pq.read_table(rows).num_rows == len(list(star.jobs.training_set(job_id, 1)))
    star.never_solved.download(job_id, tmp_path / "never.jsonl")
    archive = star.adapters.archive(f"{job_id}:best", tmp_path / "adapter.tar")
    with tarfile.open(fileobj=io.BytesIO(archive.read_bytes())) as files:
        assert "adapter_model.safetensors" in files.getnames()
    assert not list(tmp_path.glob(".*.part"))


def test_a_dataset_tells_its_statistics_and_a_prompt_set_what_it_makes(finished: Finished) -> None:
    star, job = finished.star, finished.star.jobs.get(finished.job_id)
    found = star.datasets.statistics(job.dataset, model=job.model, prompt_set=job.prompt_set)
    assert found.statistics
    assert found.tokens
    assert found.few_shot is not None
    shown = star.prompt_sets.preview(job.prompt_set, dataset=job.dataset, example_id="row-1", model=job.model)
    assert shown.training_row["completion"]
    assert few_shot()[0]["question"] in shown.prompt


def test_a_key_lives_until_it_is_revoked(finished: Finished) -> None:
    key = finished.star.api_keys.create("ci", scopes=["read"])
    with finished.server.client(key.key) as reader:
        assert reader.models.list().data
    rotated = finished.star.api_keys.rotate(key.id, grace_seconds=0)
    assert rotated.replaces == key.id
    assert finished.star.api_keys.revoke(rotated.id).revoked_at is not None
    assert finished.star.audit.list(target=rotated.id).data[0].target == rotated.id


def test_usage_and_quota_are_told(finished: Finished) -> None:
    used = list(finished.star.usage.every(job=finished.job_id))
    assert {"sample", "train"} <= {row.phase for row in used}
    quota = finished.star.usage.quota()
    assert quota.dataset_bytes.used > 0
