"""Hashes of model files that outlive a start."""

from __future__ import annotations

import json
import os
from hashlib import sha256
from pathlib import Path

import pytest

from app.file_hashes import FileHashes
from app.ledger.data.base_models import hash_files

OTHER = "0" * 64  # of no file: what is answered so was not hashed
LONG_AGO = 1_700_000_000


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    write(folder / "weights", b"weights")
    return folder


def write(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    os.utime(path, (LONG_AGO, LONG_AGO))


def start(model: Path) -> str:
    """What the next start takes for the hash of the weights."""
    hashes = FileHashes(model.parent / "hashes.json")
    found = hash_files(model, hashes)
    hashes.keep()
    return found["weights"]


def mark(model: Path) -> None:
    """Change the hash that is kept, so that it shows where it comes from."""
    kept = model.parent / "hashes.json"
    known = json.loads(kept.read_text())
    kept.write_text(json.dumps({name: [*entry[:-1], OTHER] for name, entry in known.items()}))


def test_a_file_that_has_not_changed_is_not_hashed_again(model: Path) -> None:
    assert start(model) == sha256(b"weights").hexdigest()
    mark(model)
    assert start(model) == OTHER


def test_a_file_of_the_same_size_and_time_is_hashed_anew_if_it_was_written_again(model: Path) -> None:
    start(model)
    mark(model)
    write(model / "weights", b"heights")
    assert start(model) == sha256(b"heights").hexdigest()


def test_a_file_put_in_the_place_of_another_is_hashed_anew(model: Path) -> None:
    start(model)
    mark(model)
    write(model.parent / "other", b"heights")
    (model.parent / "other").replace(model / "weights")
    assert start(model) == sha256(b"heights").hexdigest()


def test_a_file_that_was_written_just_now_is_not_remembered(model: Path) -> None:
    (model / "weights").write_bytes(b"weights")
    start(model)
    assert not (model.parent / "hashes.json").exists()


@pytest.mark.parametrize("kept", ["", "[]", '{"weights": 3}', '{"weights": []}', "\udcff"])
def test_what_was_kept_and_cannot_be_read_does_no_harm(model: Path, kept: str) -> None:
    (model.parent / "hashes.json").write_text(kept, errors="surrogateescape")
    assert start(model) == sha256(b"weights").hexdigest()
    mark(model)
    assert start(model) == OTHER


def test_without_a_folder_to_write_to_a_start_goes_on(model: Path) -> None:
    (model.parent / "file").write_text("")
    hashes = FileHashes(model.parent / "file" / "hashes.json")
    assert hash_files(model, hashes) == {"weights": sha256(b"weights").hexdigest()}
    hashes.keep()
