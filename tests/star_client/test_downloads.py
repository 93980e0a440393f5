"""Downloads that are cut, damaged or done already."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from star_client.adapters import _inside
from star_client.errors import Damaged, Unreachable
from star_client.objects import AdapterFile
from tests.star_client.conftest import Finished
from tests.star_client.recorded_platform import Fault


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def test_a_downloaded_adapter_is_complete_and_has_its_sha256(finished: Finished, tmp_path: Path) -> None:
    adapter = finished.star.adapters.list(finished.job_id)[0]
    seen: dict[str, int] = {}
    paths = finished.star.adapters.download(
        adapter.id, tmp_path / "adapter", lambda file, done: seen.update({file.path: done})
    )
    assert {path.name for path in paths} >= {"adapter_config.json", "adapter_model.safetensors", "README.md"}
    assert digests(tmp_path / "adapter") == {file.path: file.sha256 for file in adapter.files}
    assert seen == {file.path: file.size_bytes for file in adapter.files}


def whole(finished: Finished) -> tuple[str, dict[str, str]]:
    """Id of an adapter, and what its files must be."""
    adapter = finished.star.adapters.list(finished.job_id)[0]
    return adapter.id, {file.path: file.sha256 for file in adapter.files}


WEIGHTS = "adapter_model.safetensors"


def test_a_download_that_is_cut_goes_on_where_it_ended(finished: Finished, tmp_path: Path) -> None:
    adapter_id, expected = whole(finished)
    finished.server.wire.faults = [Fault(WEIGHTS, times=3, cut_after=100)]
    finished.star.adapters.download(adapter_id, tmp_path)
    assert digests(tmp_path) == expected
    ranges = [headers.get("range") for headers in finished.server.wire.sent("GET", WEIGHTS)]
    assert ranges == [None, "bytes=100-", "bytes=200-", "bytes=300-"]


def test_a_download_that_another_process_began_goes_on(finished: Finished, tmp_path: Path) -> None:
    adapter_id, expected = whole(finished)
    finished.server.wire.faults = [
        Fault(WEIGHTS, times=1, cut_after=150),
        Fault(WEIGHTS, times=99, status=503),
    ]
    with pytest.raises(Unreachable):
        finished.star.adapters.download(adapter_id, tmp_path)
    assert not (tmp_path / WEIGHTS).exists()
    finished.server.wire.faults.clear()
    finished.server.wire.requests.clear()
    with finished.server.client() as another:
        another.adapters.download(adapter_id, tmp_path)
    assert digests(tmp_path) == expected
    assert [headers["range"] for headers in finished.server.wire.sent("GET", WEIGHTS)] == ["bytes=150-"]


def test_a_complete_file_is_not_fetched_again(finished: Finished, tmp_path: Path) -> None:
    adapter_id, expected = whole(finished)
    finished.star.adapters.download(adapter_id, tmp_path)
    (tmp_path / WEIGHTS).write_bytes(b"something else")
    finished.server.wire.requests.clear()
    finished.star.adapters.download(adapter_id, tmp_path)
    assert digests(tmp_path) == expected
    fetched = [path for _, path, _ in finished.server.wire.requests if "/files/" in path]
    assert [path.rpartition("/")[2] for path in fetched] == [WEIGHTS]


def test_damaged_bytes_are_refused_and_thrown_away(finished: Finished, tmp_path: Path) -> None:
    adapter_id, expected = whole(finished)
    finished.server.wire.faults = [Fault(WEIGHTS, times=1, flip=True)]
    with pytest.raises(Damaged, match=WEIGHTS):
        finished.star.adapters.download(adapter_id, tmp_path)
    assert WEIGHTS not in digests(tmp_path)
    assert not list(tmp_path.glob(f".{WEIGHTS}.*"))
    finished.star.adapters.download(adapter_id, tmp_path)
    assert digests(tmp_path) == expected


@pytest.mark.parametrize("path", ["../outside", "/etc/outside", "a/../../outside", ""])
def test_an_adapter_cannot_write_outside_its_directory(path: str, tmp_path: Path) -> None:
    with pytest.raises(Damaged, match="outside the directory"):
        _inside(tmp_path, AdapterFile(path=path, size_bytes=1, sha256="0" * 64))
