"""Artifacts on a local folder and on obstore's in-memory store, which takes the same path as S3."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import pytest

from app.storage import CorruptArtifact, MissingArtifact, Storage

CONTENT = bytes(range(256)) * 20_000  # 5 MB: several chunks
SHA = sha256(CONTENT).hexdigest()


@pytest.fixture(params=["folder", "memory"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    return Storage(str(tmp_path / "artifacts") if request.param == "folder" else "memory:///")


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
