"""Datasets from a bucket: fetched by the platform, from where its operator allows and nowhere else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import obstore
import pytest
from obstore.store import from_url
from pydantic import ValidationError

from app.settings import Settings
from tests.app.api_harness import Api, addition_rows, serve

QUERY: dict[str, Any] = {"kind": "scratchpad", "validation": 4}


@pytest.fixture
def bucket(s3_bucket: str) -> str:
    """The name of a bucket that the platform's credentials reach."""
    return s3_bucket.removeprefix("s3://").partition("/")[0]


@pytest.fixture
def api(bucket: str, sqlite_database_url: str, tmp_path: Path) -> Iterator[Api]:
    places = [f"s3://{bucket}/open", f"s3://{bucket}/teams/{{project}}/"]
    with serve(sqlite_database_url, tmp_path / "home", dataset_sources=places, max_upload_bytes=4096) as api:
        yield api


def put(bucket: str, key: str, content: str) -> str:
    store = from_url(f"s3://{bucket}", client_options={"allow_http": True})
    obstore.put(store, key, content.encode())
    return f"s3://{bucket}/{key}"


def test_a_dataset_is_what_lies_in_an_allowed_bucket(api: Api, bucket: str) -> None:
    source = put(bucket, "open/rows.jsonl", addition_rows())
    made = api.client.post("/v1/datasets", params={**QUERY, "source": source})
    assert made.status_code == 201, made.text
    uploaded = api.dataset()
    assert (uploaded["id"], uploaded["sha256"]) == (made.json()["id"], made.json()["sha256"])


def test_a_key_stands_for_the_bytes_that_were_there(api: Api, bucket: str) -> None:
    source = put(bucket, "open/rows.jsonl", addition_rows())
    keyed = {"Idempotency-Key": "once"}
    made = api.client.post("/v1/datasets", params={**QUERY, "source": source}, headers=keyed)
    again = api.client.post("/v1/datasets", params={**QUERY, "source": source}, headers=keyed)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.json()["id"] == made.json()["id"]
    put(bucket, "open/rows.jsonl", addition_rows(14))
    changed = api.client.post("/v1/datasets", params={**QUERY, "source": source}, headers=keyed)
    assert changed.status_code == 422


def test_a_project_reads_its_own_folder_and_no_other_ones(api: Api, bucket: str) -> None:
    own = api.client.get("/v1/quota").json()["project"]
    source = put(bucket, f"teams/{own}/rows.jsonl", addition_rows())
    assert api.client.post("/v1/datasets", params={**QUERY, "source": source}).status_code == 201
    refused = api.client.post("/v1/datasets", params={**QUERY, "source": source}, headers=api.other)
    assert (refused.status_code, refused.json()["code"]) == (422, "source_not_allowed")


@pytest.mark.parametrize(
    ("source", "code"),
    [
        ("s3://{bucket}/open-not/rows.jsonl", "source_not_allowed"),
        ("s3://{bucket}/opened.jsonl", "source_not_allowed"),
        ("s3://{bucket}/teams/proj_other/rows.jsonl", "source_not_allowed"),
        ("s3://{bucket}-2/open/rows.jsonl", "source_not_allowed"),
        ("s3://{bucket}/open/../artifacts/x", "source"),
        ("s3://{bucket}/open//x", "source"),
        ("s3://{bucket}/open/x?versionId=1", "source"),
        ("s3://key:secret@{bucket}/open/x", "source"),
        ("s3://169.254.169.254:80/latest/meta-data", "source"),
        ("http://169.254.169.254/latest/meta-data", "source"),
        ("file:///etc/passwd", "source"),
        ("/etc/passwd", "source"),
        ("s3://{bucket}/open/nothing.jsonl", "no_source"),
    ],
)
def test_no_other_address_is_asked(api: Api, bucket: str, source: str, code: str) -> None:
    answer = api.client.post("/v1/datasets", params={**QUERY, "source": source.format(bucket=bucket)})
    assert (answer.status_code, answer.json()["code"]) == (422, code), answer.text
    assert answer.json()["errors"][0]["field"] == "source"


def test_an_object_above_the_limit_is_refused_by_its_size(api: Api, bucket: str) -> None:
    source = put(bucket, "open/large.jsonl", addition_rows(200))
    answer = api.client.post("/v1/datasets", params={**QUERY, "source": source})
    assert (answer.status_code, answer.json()["code"]) == (422, "source_too_large")


def test_bad_rows_of_a_bucket_are_named_as_those_of_a_file(api: Api, bucket: str) -> None:
    source = put(bucket, "open/bad.jsonl", '{"question": "1 + 1"}\n')
    answer = api.client.post("/v1/datasets", params={**QUERY, "source": source})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_rows")


def test_without_a_place_nothing_is_read(sqlite_api: Api, bucket: str) -> None:
    source = put(bucket, "open/rows.jsonl", addition_rows())
    answer = sqlite_api.client.post("/v1/datasets", params={**QUERY, "source": source})
    assert (answer.status_code, answer.json()["code"]) == (422, "source_not_allowed")


@pytest.mark.parametrize("place", ["s3://b/star", "s3://b", "s3://b/star/artifacts/x", "s3://b/{project}"])
def test_the_platforms_own_artifacts_are_no_source(place: str) -> None:
    with pytest.raises(ValidationError, match="share a prefix"):
        Settings(storage_url="s3://b/star/artifacts", dataset_sources=[place])


def test_a_place_beside_the_artifacts_is_one() -> None:
    assert Settings(storage_url="s3://b/star", dataset_sources=["s3://b/stars"]).dataset_sources
