"""An adapter merged into its base model, over HTTP: API, server of models, and the process that writes it."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from safetensors.numpy import load

from star_client.errors import NotAuthorised, NotFound, ServerFailed, Unreachable
from tests.app.api_harness import MODEL
from tests.star_client.conftest import Finished, Run
from tests.star_client.recorded_platform import wait_until
from tests.star_client.test_openai_completions import server_of_models


@pytest.fixture(scope="module")
def served(finished_job: Finished) -> Iterator[Finished]:
    with server_of_models(finished_job.server):
        yield finished_job


WEIGHT = "model.layers.0.self_attn.q_proj.weight"


def test_without_a_server_of_models_it_says_how_to_start_one(finished: Finished, tmp_path: Path) -> None:
    """The first of this module: the others have one running."""
    with pytest.raises((ServerFailed, Unreachable)) as refused:
        finished.star.adapters.merged(f"{finished.job_id}:best", tmp_path / "x.tar")
    assert "python -m worker.serving" in str(refused.value)


def test_merged_model_is_whole_and_is_the_base_with_the_adapters_change(
    served: Finished, tmp_path: Path
) -> None:
    name = f"{served.job_id}:best"
    file = served.star.adapters.merged(name, tmp_path / "merged.tar")
    with tarfile.open(file) as archive:
        files = {one.name: archive.extractfile(one) for one in archive}
        assert set(files) == {"config.json", "model.safetensors", "tokenizer.json"}
        merged = load((files["model.safetensors"] or io.BytesIO()).read())[WEIGHT]
    served.star.adapters.download(name, tmp_path / "adapter")
    adapter = load((tmp_path / "adapter" / "adapter_model.safetensors").read_bytes())
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    stem = f"base_model.model.{WEIGHT.removesuffix('.weight')}"
    change = adapter[f"{stem}.lora_B.weight"] @ adapter[f"{stem}.lora_A.weight"]
    assert merged == pytest.approx(1 + config["lora_alpha"] / config["r"] * change)
    assert (merged != 1).all()


def test_the_same_bytes_come_again(served: Finished, tmp_path: Path) -> None:
    files = [served.star.adapters.merged(f"{served.job_id}:1", tmp_path / f"{n}.tar") for n in range(2)]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_what_cannot_be_a_gguf_is_refused_with_the_reason_and_holds_no_place(
    served: Finished, run: Run, tmp_path: Path
) -> None:
    for _ in range(4):  # more than are written at once
        told = run(served.server, "adapters", "merge", served.job_id, tmp_path / "mine.gguf")
        assert told.status == 4
        assert "is not written as GGUF here" in told.err
    assert run(served.server, "adapters", "merge", served.job_id, tmp_path / "mine.tar").status == 0
    assert [path.name for path in tmp_path.iterdir()] == ["mine.tar"]
    exports = served.server.settings.home / "worker" / "exports"
    wait_until(lambda: not list(exports.iterdir()), "what an export was made from is left behind")


def test_names_that_are_no_adapters_are_not_found(served: Finished, tmp_path: Path) -> None:
    for name in (MODEL, "adp_nothing"):
        with pytest.raises(NotFound):
            served.star.adapters.merged(name, tmp_path / "x.tar")


def test_only_who_may_submit_has_it_made(served: Finished, tmp_path: Path) -> None:
    with served.server.client(served.server.reader_key) as reader, pytest.raises(NotAuthorised):
        reader.adapters.merged(f"{served.job_id}:best", tmp_path / "x.tar")
