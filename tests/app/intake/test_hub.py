"""Datasets that the platform fetches from a hub: from the one that its operator names, within limits."""

from __future__ import annotations

import io
import json
import os
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet
from pydantic import ValidationError

from app.intake.hub.fetch import _joined
from app.intake.hub.names import Named
from app.settings import Settings
from app.webhooks.targets import Target
from tests.app.api_harness import Api, addition_rows, serve
from tests.certificates import certificate
from tests.hub_server import Hub, Repository, running_hub

ROWS = {"question": ["2 + 2?", "3 + 3?", "4 + 4?"], "answer": ["4", "6", "8"]}
HELD_OUT = {"question": ["1 + 1?"], "answer": ["2"]}
TRAIN, TEST = "main/train-00000-of-00001.parquet", "main/test-00000-of-00001.parquet"
REFUSED = [
    ("hf:acme/sums", "is not of the form hf:ORG/NAME"),
    ("hf:../api/train", "is not of the form"),
    ("hf:acme/../train", "is not of the form"),
    ("hf:acme/sums@../../x/train", "is not of the form"),
    ("hf:http://169.254.169.254/x/train", "is not of the form"),
    ("hf:acme/none/train", "no public dataset acme/none"),
    ("hf:acme/sums@v9/train", "no revision v9"),
    ("hf:acme/sums/dev", "no file of the split dev"),
    ("hf:acme/gated/train", "is gated"),
    ("hf:acme/odd/train+test", "cannot be put together"),
    ("hf:acme/long/train", "more than 0 MiB"),
    ("hf:acme/longer/train", "more than 0 MiB"),
    ("hf:acme/changed/train", "not the file that the hub announced"),
    ("hf:acme/inside/train", "where the platform does not go"),
    ("hf:acme/metadata/train", "where the platform does not go"),
    ("hf:acme/file/train", "where the platform does not go"),
    ("hf:acme/circle/train", "round in circles"),
    ("hf:acme/bracket/train", "where the platform does not go"),
    ("hf:acme/lists/train+test", "is no JSON object"),
]


def table(rows: dict[str, list[str]]) -> bytes:
    out = io.BytesIO()
    parquet.write_table(pa.table(rows), out)
    return out.getvalue()


@pytest.fixture
def hub() -> Iterator[Hub]:
    with running_hub() as hub:
        hub.repositories["datasets/acme/sums"] = Repository({TRAIN: table(ROWS), TEST: table(HELD_OUT)})
        hub.repositories["datasets/acme/lines"] = Repository({"train.jsonl": addition_rows().encode()})
        yield hub


@pytest.fixture
def api(hub: Hub, sqlite_database_url: str, tmp_path: Path) -> Iterator[Api]:
    with serve(sqlite_database_url, tmp_path / "home", hub_url=hub.url, hub_max_bytes=20_000) as api:
        yield api


def upload(api: Api, source: str, **query: Any) -> dict[str, Any]:
    params = {"kind": "numeric", "source": source, **query}
    return dict(api.client.post("/v1/datasets", params=params).json())


def look(api: Api, source: str) -> dict[str, Any]:
    return dict(api.client.post("/v1/dataset-previews", params={"source": source}).json())


def test_splits_of_a_hub_are_trained_on_and_held_out_as_they_are_said_to_be(api: Api, hub: Hub) -> None:
    made = upload(api, "hf:acme/sums/main/train+test=validation", name="sums")
    assert made["splits"] == {"train": 3, "validation": 1}
    rows = api.client.get(f"/v1/datasets/{made['id']}/examples").json()["data"]
    assert [(row["question"], row["split"]) for row in rows][-1] == ("1 + 1?", "validation")
    again = upload(api, "hf:acme/sums/main/train+test=validation", name="sums")
    assert again["id"] == made["id"]


def test_one_file_is_taken_as_it_is(api: Api, hub: Hub) -> None:
    made = upload(api, "hf:acme/lines/train", kind="scratchpad", validation=4)
    assert made["sha256"] == api.dataset()["sha256"]


def test_what_was_fetched_of_a_commit_is_kept_for_a_while(api: Api, hub: Hub, tmp_path: Path) -> None:
    commit = hub.repositories["datasets/acme/lines"].commit
    query = {"kind": "scratchpad", "validation": 4}
    made = upload(api, "hf:acme/lines/train", **query)
    asked = len(hub.asked)
    assert upload(api, f"hf:acme/lines@{commit}/train", **query)["id"] == made["id"]
    assert len(hub.asked) == asked
    upload(api, "hf:acme/lines/train", **query)
    assert hub.asked[asked:] == ["GET /api/datasets/acme/lines"]
    for kept in (tmp_path / "home" / "hub").iterdir():
        os.utime(kept, (0, 0))
    upload(api, f"hf:acme/lines@{commit}/train", **query)
    assert any("/resolve/" in one for one in hub.asked[asked:])  # it may be private by now
    hub.repositories["datasets/acme/lines"].files["train.jsonl"] = addition_rows(14).encode()
    assert upload(api, "hf:acme/lines/train", **query)["id"] != made["id"]


def test_a_hub_is_looked_at_and_the_commit_that_was_seen_is_what_an_upload_takes(api: Api, hub: Hub) -> None:
    commit = hub.repositories["datasets/acme/sums"].commit
    source = "hf:acme/sums/main/train+test=validation"
    seen = look(api, source)
    assert (seen["kind"], seen["splits"]) == ("numeric", {"train": 3, "validation": 1})
    assert seen["source"] == f"hf:acme/sums@{commit}/main/train+test=validation"
    assert api.client.get("/v1/datasets").json()["data"] == []
    hub.repositories["datasets/acme/sums"].files[TRAIN] = table(HELD_OUT)
    assert look(api, source)["splits"] != seen["splits"]  # the newest commit has other rows
    assert upload(api, seen["source"])["splits"] == seen["splits"]


def test_a_look_at_a_hub_is_refused_as_an_upload_is(api: Api, hub: Hub) -> None:
    for source in ("hf:acme/sums", "hf:acme/none/train", "s3://bucket/rows.jsonl"):
        refused, as_of_upload = look(api, source), upload(api, source)
        assert refused["status"] == 422, source
        for name in ("code", "detail", "errors"):
            assert refused[name] == as_of_upload[name], source


def test_what_cannot_be_fetched_is_refused_with_the_reason(api: Api, hub: Hub) -> None:
    made = hub.repositories
    made["datasets/acme/gated"] = Repository({}, gated=True)
    made["datasets/acme/odd"] = Repository({"train.parquet": b"PAR1", "test.parquet": b"PAR1"})
    made["datasets/acme/long"] = Repository({"train.jsonl": b" " * 20_001})
    made["datasets/acme/longer"] = Repository({"train.jsonl": b" " * 20_001})
    made["datasets/acme/longer"].announced["train.jsonl"] = b" "
    made["datasets/acme/lists"] = Repository({"train.jsonl": b"[1]\n", "test.jsonl": b"[2]\n"})
    made["datasets/acme/changed"] = Repository({"train.parquet": table(ROWS)})
    made["datasets/acme/changed"].announced["train.parquet"] = table(HELD_OUT)
    for name, address in (
        ("inside", "https://127.0.0.1/x"),
        ("metadata", "http://169.254.169.254/latest/meta-data"),
        ("file", "file:///etc/passwd"),
        ("bracket", "https://[x/train.jsonl"),
        ("circle", f"{hub.url}/datasets/acme/circle/resolve/main/train.jsonl"),
    ):
        made[f"datasets/acme/{name}"] = Repository({"train.jsonl": b"{}"}, moved={"train.jsonl": address})
    for source, reason in REFUSED:
        refused = upload(api, source)
        assert refused["status"] == 422, (source, refused)
        assert reason in refused["detail"], source
        assert refused["errors"][0]["fix"]
    assert api.client.get("/v1/datasets").json()["data"] == []


def test_a_file_that_the_hub_keeps_under_another_of_its_addresses_is_followed(api: Api, hub: Hub) -> None:
    kept = hub.repositories["datasets/acme/lines"]
    moved = Repository(
        dict(kept.files), moved={"train.jsonl": "/datasets/acme/lines/resolve/main/train.jsonl"}
    )
    hub.repositories["datasets/acme/moved"] = moved
    made = upload(api, "hf:acme/moved/train", kind="scratchpad", validation=4)
    assert made["sha256"] == api.dataset()["sha256"]


@pytest.mark.parametrize(("named", "arrives"), [("files.hub.example", True), ("other.hub.example", False)])
def test_the_address_that_was_checked_is_connected_to_and_its_certificate_verified_by_name(
    api: Api, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str, arrives: bool
) -> None:
    """No name server knows the name: it means this machine while it is checked, and nothing afterwards."""
    shown = certificate(tmp_path, "files.hub.example")
    trusted = ssl.create_default_context(cafile=shown)
    monkeypatch.setattr("httpcore2.default_ssl_context", lambda **_: trusted)
    asked: list[str] = []

    def resolve(target: Target) -> str:
        asked.append(target.host)
        return "127.0.0.1"

    monkeypatch.setattr("app.intake.hub.redirects.resolve", resolve)
    with running_hub(shown) as files:
        files.repositories["datasets/acme/lines"] = hub.repositories["datasets/acme/lines"]
        place = files.url.replace(shown.stem, named) + "/datasets/acme/lines/resolve/main/train.jsonl"
        moved = Repository(dict(hub.repositories["datasets/acme/lines"].files), moved={"train.jsonl": place})
        hub.repositories["datasets/acme/moved"] = moved
        made = upload(api, "hf:acme/moved/train", kind="scratchpad", validation=4)
    assert asked == [named]
    if arrives:
        assert made["sha256"] == api.dataset()["sha256"]
    else:
        assert (made["status"], made["code"]) == (422, "hub")
        assert files.asked == []


def test_no_token_and_no_cookie_is_sent(api: Api, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", hub.token)
    upload(api, "hf:acme/sums/main/train")
    assert hub.credentials == []


@pytest.mark.parametrize(("more", "code"), [({"hub_url": ""}, "hub_off"), ({"hub_seconds": 1e-9}, "hub")])
def test_an_operator_may_forbid_hubs_and_bounds_the_time(
    hub: Hub, sqlite_database_url: str, tmp_path: Path, more: dict[str, Any], code: str
) -> None:
    with serve(sqlite_database_url, tmp_path / "home", **{"hub_url": hub.url, **more}) as api:
        refused = upload(api, "hf:acme/sums/main/train")
        assert (refused["status"], refused["code"]) == (422, code)


def test_a_hub_that_does_not_answer_is_named(sqlite_database_url: str, tmp_path: Path) -> None:
    with serve(sqlite_database_url, tmp_path / "home", hub_url="http://127.0.0.1:9") as api:
        assert "The hub http://127.0.0.1:9 does not answer" in upload(api, "hf:acme/sums/train")["detail"]


@pytest.mark.parametrize(
    "url",
    [
        "ftp://hub",
        "http://user@hub",
        "http://hub?x",
        "hub",
        "https://[hub",
        "https://hub:https",
        "https://a b",
    ],
)
def test_an_address_that_is_no_hubs_is_refused_at_the_start(url: str) -> None:
    with pytest.raises(ValidationError):
        Settings(hub_url=url)


def test_a_split_may_be_given_another_role() -> None:
    named = Named.read("hf:acme/sums@v1/main/train+test=validation+odd=test")
    assert (named.repository, named.revision, named.config) == ("acme/sums", "v1", "main")
    assert [named.role_of(split) for split in named.splits] == ["train", "validation", "test"]


def test_what_was_fetched_first_makes_room(api: Api, hub: Hub, tmp_path: Path) -> None:
    for number in range(6):
        rows = json.dumps({"question": f"{number} + 0?", "answer": str(number), "group": "x" * 15_000})
        hub.repositories[f"datasets/acme/n{number}"] = Repository({"train.jsonl": rows.encode()})
        upload(api, f"hf:acme/n{number}/train")
    kept = list((tmp_path / "home" / "hub").iterdir())
    assert 0 < sum(path.stat().st_size for path in kept) <= 4 * 20_000


def test_files_whose_last_line_does_not_end_are_put_together_line_by_line(api: Api, hub: Hub) -> None:
    rows = [json.dumps({"question": f"{number} + 1?", "answer": str(number + 1)}) for number in range(3)]
    parts = {f"train-{number}.jsonl": row.encode() for number, row in enumerate(rows)}
    hub.repositories["datasets/acme/parts"] = Repository(parts)
    assert upload(api, "hf:acme/parts/train")["splits"] == {"train": 3}


def test_thousands_of_files_are_put_together(tmp_path: Path) -> None:
    (tmp_path / "row.jsonl").write_text('{"a": 1}')
    files = {"": [tmp_path / "row.jsonl"] * 3000}
    joined = _joined(files, tmp_path, Settings())
    assert joined.read_text() == '{"a": 1}\n' * 3000


def test_what_another_process_takes_away_meanwhile_is_fetched_again(
    api: Api, hub: Hub, tmp_path: Path
) -> None:
    """A link to nowhere is listed, and is gone as soon as it is looked at."""
    made = upload(api, "hf:acme/lines/train", kind="scratchpad", validation=4)
    kept = tmp_path / "home" / "hub"
    (known,) = kept.iterdir()
    known.unlink()
    known.symlink_to("nowhere")
    (kept / f"part-{'0' * 8}").symlink_to("nowhere")
    assert upload(api, "hf:acme/lines/train", kind="scratchpad", validation=4)["id"] == made["id"]
    assert known.is_file()
    assert not known.is_symlink()


def test_a_file_whose_ending_is_in_capitals_is_kept_too(api: Api, hub: Hub) -> None:
    hub.repositories["datasets/acme/capitals"] = Repository({"train.CSV": b"question,answer\n1 + 1?,2\n"})
    made = upload(api, "hf:acme/capitals/train")
    assert made["splits"] == {"train": 1}
    asked = len(hub.asked)
    assert upload(api, "hf:acme/capitals/train")["id"] == made["id"]
    assert hub.asked[asked:] == ["GET /api/datasets/acme/capitals"]
