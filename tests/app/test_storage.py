"""Artifacts on a local folder and on S3, spoken over HTTP to a server of its own."""

from __future__ import annotations

from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from urllib.parse import unquote

import httpx2
import pytest

from app.storage import CorruptArtifact, MissingArtifact, Storage, signed_again
from tests.s3_server import KEY

CONTENT = bytes(range(256)) * 20_000  # 5 MB: several chunks
SHA = sha256(CONTENT).hexdigest()


@pytest.fixture(params=["folder", "s3"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    if request.param == "folder":
        return Storage(str(tmp_path / "artifacts"))
    return Storage(request.getfixturevalue("s3_bucket"))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "adapter_model.safetensors"
    path.write_bytes(CONTENT)
    return path


def test_file_is_stored_under_its_sha256(storage: Storage, source: Path) -> None:
    assert storage.put_file(source) == SHA
    assert storage.put_file(source) == SHA
    assert storage.size(SHA) == len(CONTENT)


def test_range_yields_exactly_its_bytes(storage: Storage, source: Path) -> None:
    storage.put_file(source)
    assert b"".join(storage.open_range(SHA, 0, len(CONTENT))) == CONTENT
    assert b"".join(storage.open_range(SHA, 1_000_001, 3_000_003)) == CONTENT[1_000_001:3_000_003]
    assert b"".join(storage.open_range(SHA, 7, 7)) == b""


def test_empty_file_can_be_stored_and_read(storage: Storage, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    sha = storage.put_file(tmp_path / "empty")
    storage.fetch(sha, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == b""


def test_fetch_copies_and_leaves_nothing_else_behind(storage: Storage, source: Path, tmp_path: Path) -> None:
    storage.put_file(source)
    target = tmp_path / "fetched" / "weights"
    target.parent.mkdir()
    storage.fetch(SHA, target)
    assert target.read_bytes() == CONTENT
    assert list(target.parent.iterdir()) == [target]


def test_missing_artifact_is_named(storage: Storage, tmp_path: Path) -> None:
    for ask in (
        lambda: storage.size(SHA),
        lambda: storage.open_range(SHA, 0, 1),
        lambda: storage.fetch(SHA, tmp_path / "copy"),
    ):
        with pytest.raises(MissingArtifact):
            ask()
    assert not (tmp_path / "copy").exists()


def test_corrupted_file_is_refused_and_never_appears(source: Path, tmp_path: Path) -> None:
    folder = tmp_path / "artifacts"
    storage = Storage(str(folder))
    storage.put_file(source)
    stored = folder / "sha256" / SHA[:2] / SHA[2:]
    stored.write_bytes(CONTENT[:-1] + b"x")
    with pytest.raises(CorruptArtifact, match=SHA):
        storage.fetch(SHA, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_name_that_is_no_sha256_cannot_leave_the_folder(storage: Storage) -> None:
    with pytest.raises(ValueError, match="not a SHA-256"):
        storage.size("../../etc/passwd")


def test_s3_keeps_the_areas_apart_and_removes_what_is_old(s3_bucket: str, source: Path) -> None:
    storage = Storage(s3_bucket)
    files = storage.area("files/proj_x")
    assert storage.put_file(source) == files.put_file(source) == SHA
    assert not files.delete(SHA, timedelta(hours=1))
    assert files.delete(SHA, timedelta(0))
    assert storage.size(SHA) == len(CONTENT)
    with pytest.raises(MissingArtifact):
        files.size(SHA)
    assert Storage(s3_bucket).size(SHA) == len(CONTENT)


def test_a_file_of_several_parts_arrives_whole_in_s3(s3_bucket: str, tmp_path: Path) -> None:
    """obstore sends more than 5 MiB in parts."""
    large = tmp_path / "large"
    large.write_bytes(CONTENT * 3)
    storage = Storage(s3_bucket)
    sha = storage.put_file(large)
    storage.fetch(sha, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == CONTENT * 3


def test_a_link_gives_the_bytes_of_one_artifact_to_whoever_has_no_credentials(
    s3_bucket: str, source: Path
) -> None:
    storage = Storage(s3_bucket, link_seconds=60)
    with pytest.raises(MissingArtifact):
        storage.link(SHA)
    storage.put_file(source)
    link = storage.link(SHA)
    assert link is not None
    assert "X-Amz-Expires=60" in link
    assert httpx2.get(link).content == CONTENT
    part = httpx2.get(link, headers={"Range": "bytes=5-9"})
    assert (part.status_code, part.content) == (206, CONTENT[5:10])


@pytest.mark.parametrize("name", ["model card.md", 'a "quoted" name', "Übung.jsonl"])
def test_a_link_says_under_which_name_it_is_saved(s3_bucket: str, source: Path, name: str) -> None:
    storage = Storage(s3_bucket, link_seconds=60)
    storage.put_file(source)
    link = storage.link(SHA, name)
    assert link is not None
    answer = httpx2.get(link)
    assert answer.content == CONTENT
    said = answer.headers["content-disposition"]
    assert said.startswith("attachment; filename=")
    assert said.isascii()
    assert unquote(said.partition("filename*=UTF-8''")[2]) == name


def test_a_link_is_signed_as_obstore_signs_it(s3_bucket: str, source: Path) -> None:
    """The tests' server checks no signature: Amazon's does."""
    storage = Storage(s3_bucket, link_seconds=60)
    storage.put_file(source)
    link = storage.link(SHA)
    assert link is not None
    assert signed_again(link, KEY["AWS_SECRET_ACCESS_KEY"], {}) == link
    assert signed_again(link, "another", {}) != link


def test_only_a_storage_that_is_told_to_gives_links(s3_bucket: str, source: Path, tmp_path: Path) -> None:
    for storage in (Storage(s3_bucket), Storage(str(tmp_path / "artifacts"), link_seconds=60)):
        storage.put_file(source)
        assert storage.link(SHA) is None
