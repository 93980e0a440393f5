"""The unmodified `openai` package drives files, fine-tuning jobs and models of the platform."""

from __future__ import annotations

import io
from collections.abc import Iterator

import openai
import pytest

from tests.app.api_harness import MODEL, addition_rows, few_shot
from tests.star_client.recorded_platform import Platform

CONFIG = {
    "iterations": 2,
    "generation": {"max_tokens": 100},
    "training": {"schedule": {"kind": "linear", "start": 3, "add": 1}, "batch_size": 4},
}


@pytest.fixture
def client(server: Platform) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key=server.key, max_retries=0) as client:
        yield client


@pytest.fixture
def prompt_set(server: Platform) -> str:
    with server.client() as star:
        return star.prompt_sets.create(name="few-shot", kind="scratchpad", examples=few_shot()).id


def upload(client: openai.OpenAI, rows: str, name: str = "addition.jsonl") -> str:
    return client.files.create(file=(name, io.BytesIO(rows.encode())), purpose="fine-tune").id


def test_files_are_uploaded_listed_downloaded_and_deleted(client: openai.OpenAI) -> None:
    rows = addition_rows(8)
    file = upload(client, rows)
    assert client.files.retrieve(file).bytes == len(rows)
    assert client.files.wait_for_processing(file).status == "processed"
    assert client.files.content(file).text == rows
    assert [one.id for one in client.files.list(purpose="fine-tune")] == [file]
    assert client.files.delete(file).deleted
    with pytest.raises(openai.NotFoundError):
        client.files.retrieve(file)


def test_models_are_listed_and_retrieved(client: openai.OpenAI) -> None:
    (model,) = client.models.list()
    assert (model.id, model.object, model.owned_by) == (MODEL, "model", "star")
    assert client.models.retrieve(MODEL).created == model.created


def test_a_whole_job_from_its_file_to_its_checkpoints(
    client: openai.OpenAI, server: Platform, prompt_set: str
) -> None:
    rows = addition_rows(24).splitlines(keepends=True)
    training, held_out = upload(client, "".join(rows[:16])), upload(client, "".join(rows[16:]))
    job = client.fine_tuning.jobs.create(
        model=MODEL,
        training_file=training,
        validation_file=held_out,
        suffix="adds",
        seed=7,
        method={"type": "supervised", "supervised": {"hyperparameters": {"batch_size": 2}}},
        metadata={"team": "numbers"},
        extra_body={"prompt_set": prompt_set, "config": CONFIG},
    )
    assert (job.status, job.model, job.seed) == ("queued", MODEL, 7)
    assert (job.training_file, job.validation_file) == (training, held_out)
    assert client.fine_tuning.jobs.retrieve(job.id).fine_tuned_model is None
    server.work()
    done = client.fine_tuning.jobs.retrieve(job.id)
    assert (done.status, done.metadata) == ("succeeded", {"team": "numbers"})
    assert done.trained_tokens is not None
    assert done.trained_tokens > 0
    checkpoints = list(client.fine_tuning.jobs.checkpoints.list(job.id, limit=1))
    assert [one.step_number for one in checkpoints] == [2, 1]
    assert done.fine_tuned_model in {one.fine_tuned_model_checkpoint for one in checkpoints}
    events = list(client.fine_tuning.jobs.list_events(job.id, limit=7))
    assert events[0].message == "job succeeded"
    assert events[-1].message == "job created"
    assert len({one.id for one in events}) == len(events)
    assert {one.type for one in events} == {"message", "metrics"}
    with server.client() as star:
        dataset = star.datasets.get(star.jobs.get(job.id).dataset)
        assert dataset.splits == {"train": 16, "validation": 8}


def test_a_job_is_paused_resumed_and_cancelled(client: openai.OpenAI, prompt_set: str) -> None:
    file = upload(client, addition_rows(24))
    extra = {"prompt_set": prompt_set, "config": CONFIG, "validation": 8}
    jobs = [
        client.fine_tuning.jobs.create(model=MODEL, training_file=file, extra_body=extra) for _ in range(3)
    ]
    assert [one.id for one in client.fine_tuning.jobs.list(limit=2)] == [one.id for one in reversed(jobs)]
    paused = client.fine_tuning.jobs.pause(jobs[0].id)
    assert str(paused.status) == "paused"  # a status that its types do not know
    assert client.fine_tuning.jobs.resume(jobs[0].id).status == "queued"
    assert client.fine_tuning.jobs.cancel(jobs[0].id).status == "cancelled"


def test_errors_arrive_as_the_clients_own_with_the_field_at_fault(
    client: openai.OpenAI, server: Platform, prompt_set: str
) -> None:
    with pytest.raises(openai.UnprocessableEntityError) as refused:
        client.fine_tuning.jobs.create(
            model=MODEL, training_file="file_none", extra_body={"prompt_set": prompt_set}
        )
    assert refused.value.param == "training_file"
    with pytest.raises(openai.AuthenticationError):
        openai.OpenAI(base_url=f"{server.url}/v1", api_key="star_no", max_retries=0).models.list()
    broken = upload(client, '{"question": "1 + 1"}\n')
    extra = {"prompt_set": prompt_set}
    with pytest.raises(openai.UnprocessableEntityError) as refused:
        client.fine_tuning.jobs.create(model=MODEL, training_file=broken, extra_body=extra)
    assert refused.value.param == "answer"


def test_a_validation_file_that_is_no_jsonl_is_refused_with_its_line(
    client: openai.OpenAI, prompt_set: str
) -> None:
    training = upload(client, addition_rows(8))
    held_out = upload(client, addition_rows(2) + "[]\n", "held-out.jsonl")
    with pytest.raises(openai.UnprocessableEntityError) as refused:
        client.fine_tuning.jobs.create(
            model=MODEL,
            training_file=training,
            validation_file=held_out,
            extra_body={"prompt_set": prompt_set},
        )
    assert refused.value.param == "held-out.jsonl"
    assert refused.value.body is not None


def test_a_validation_file_that_equals_the_training_file_is_refused(
    client: openai.OpenAI, prompt_set: str
) -> None:
    training, same = upload(client, addition_rows(8)), upload(client, addition_rows(8), "same.jsonl")
    with pytest.raises(openai.UnprocessableEntityError) as refused:
        client.fine_tuning.jobs.create(
            model=MODEL,
            training_file=training,
            validation_file=same,
            extra_body={"prompt_set": prompt_set},
        )
    assert (refused.value.param, refused.value.code) == ("validation_file", "overlap")
    assert "allow_overlap" in str(refused.value)
