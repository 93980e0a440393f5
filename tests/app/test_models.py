"""The allow-list of base models: what a start makes of it, and what it refuses."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy import Engine
from starlette.testclient import TestClient

from app.database import make_engine, reading
from app.ledger.data.base_models import LONGEST_CONTEXT, BadModelsFile, register_models
from app.ledger.data.model_memory import too_large
from app.main import create_app
from app.settings import Settings
from app.tables.data import Model
from tests.app.api_harness import CONTEXT, MODEL, WEIGHTS, Api, make_model, serve
from tests.worker.gpu.test_share import write_weights

COMMIT = "0" * 40


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = make_engine(database_url)
    yield engine
    engine.dispose()


@pytest.fixture
def models_file(tmp_path: Path) -> Path:
    make_model(tmp_path / "tiny")
    return allow(tmp_path / "models.yaml", {"id": "tiny", "location": "tiny", "license": "apache-2.0"})


def allow(path: Path, *models: dict[str, Any]) -> Path:
    path.write_text(yaml.safe_dump(list(models)))
    return path


def known(engine: Engine, model_id: str) -> Model:
    with reading(engine) as session:
        return session.get_one(Model, model_id)


def test_files_of_a_folder_are_hashed_and_its_context_is_read(engine: Engine, models_file: Path) -> None:
    assert register_models(engine, models_file) == {"tiny"}
    model = known(engine, "tiny")
    assert model.location == str(models_file.parent / "tiny")
    assert model.context_length == CONTEXT
    assert set(model.files) == {"config.json", "model.safetensors", "tokenizer.json"}
    assert model.files["model.safetensors"] == sha256(WEIGHTS).hexdigest()


def test_hub_model_needs_revision_files_and_context(engine: Engine, tmp_path: Path) -> None:
    whole = {
        "id": "m",
        "location": "org/m",
        "revision": COMMIT,
        "files": {"a.json": "f" * 64},
        "context_length": 9,
    }
    register_models(engine, allow(tmp_path / "models.yaml", whole))
    model = known(engine, "m")
    assert (model.location, model.revision, model.files) == ("org/m", COMMIT, {"a.json": "f" * 64})
    for missing in ("revision", "files", "context_length"):
        part = {name: value for name, value in whole.items() if name != missing}
        with pytest.raises(BadModelsFile, match="hub id"):
            register_models(engine, allow(tmp_path / "models.yaml", part))


def test_what_a_model_requires_of_a_worker_is_kept_and_shown(api: Api) -> None:
    assert api.client.get(f"/v1/models/{MODEL}", headers=api.reader).json()["requires"] == {
        "gpus": 1,
        "gpu_memory_gib": None,
        "gpu_class": None,
    }
    requires = {"gpus": 2, "gpu_memory_gib": 40.0, "gpu_class": "h100"}
    listed = {"id": MODEL, "location": "model", "requires": requires}
    register_models(api.engine, allow(api.settings.models_file, listed))
    assert api.client.get(f"/v1/models/{MODEL}", headers=api.reader).json()["requires"] == requires


def test_model_that_no_job_uses_may_change(engine: Engine, models_file: Path) -> None:
    register_models(engine, models_file)
    (models_file.parent / "tiny" / "model.safetensors").write_bytes(b"other weights")
    register_models(engine, models_file)
    assert known(engine, "tiny").files["model.safetensors"] == sha256(b"other weights").hexdigest()


def test_model_that_jobs_were_run_with_may_not_change(api: Api) -> None:
    api.job()
    weights = api.settings.home / "model" / "model.safetensors"
    weights.write_bytes(b"other weights")
    with pytest.raises(BadModelsFile, match=r"model.safetensors.*new id"):
        register_models(api.engine, api.settings.models_file)
    weights.write_bytes(WEIGHTS)
    assert register_models(api.engine, api.settings.models_file) == {MODEL}


@pytest.mark.parametrize(
    ("models", "words"),
    [
        ([{"id": "m", "location": "no/such/folder"}], "no folder"),
        ([{"id": "m", "location": "tiny"}, {"id": "m", "location": "tiny"}], "listed twice: m"),
        ([{"id": "m", "location": "tiny", "trust_remote_code": True}], "trust_remote_code"),
        ([{"id": "../m", "location": "tiny"}], "id"),
        ([{"id": "m", "location": "tiny", "requires": {"gpus": 0}}], "gpus"),
        ([{"location": "tiny"}], "id"),
        ("tiny", "list"),
    ],
)
def test_allow_list_that_cannot_be_used_stops_the_start(
    engine: Engine, models_file: Path, models: Any, words: str
) -> None:
    models_file.write_text(yaml.safe_dump(models))
    with pytest.raises(BadModelsFile, match=words):
        register_models(engine, models_file)


def test_folder_that_does_not_tell_its_context_needs_it_in_the_list(
    engine: Engine, models_file: Path
) -> None:
    (models_file.parent / "tiny" / "config.json").write_text(json.dumps({"hidden_size": 8}))
    with pytest.raises(BadModelsFile, match="context_length"):
        register_models(engine, models_file)
    register_models(engine, allow(models_file, {"id": "tiny", "location": "tiny", "context_length": 7}))
    assert known(engine, "tiny").context_length == 7


def test_quantized_model_stops_the_start_with_the_reason(engine: Engine, models_file: Path) -> None:
    config = models_file.parent / "tiny" / "config.json"
    quantized = {"quantization_config": {"quant_method": "fp8"}}
    config.write_text(json.dumps(json.loads(config.read_text()) | quantized))
    with pytest.raises(BadModelsFile, match=r"model tiny: its weights are quantized \(fp8\)"):
        register_models(engine, models_file)


def quantize(folder: Path) -> Path:
    """A copy of a model that says that it is quantized, as FP8 is: a byte a weight, under the same names."""
    copy = shutil.copytree(folder, folder.with_name("quantized"))
    config = json.loads((copy / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "fp8"}
    (copy / "config.json").write_text(json.dumps(config))
    return copy


def test_a_quantized_model_is_listed_with_the_one_that_is_trained_in_its_place(api: Api) -> None:
    quantize(api.settings.home / "model")
    plain = {"id": MODEL, "location": "model"}
    twin = {"id": "small", "location": "quantized", "trained_as": MODEL}
    register_models(api.engine, allow(api.settings.models_file, twin, plain))
    with reading(api.engine) as session:
        model = session.get_one(Model, "small")
        assert model.trained_as == MODEL
        assert model.files != session.get_one(Model, MODEL).files, "the hashes of both are kept"
    for changed, words in (
        ({"trained_as": "small"}, r"`trained_as` names 'small', which is no entry that is trained itself"),
        ({"trained_as": "nobody"}, r"`trained_as` names 'nobody'"),
        ({"trained_as": None}, r"its weights are quantized \(fp8\).*name it in this entry's `trained_as`"),
    ):
        with pytest.raises(BadModelsFile, match=f"model small: {words}"):
            register_models(api.engine, allow(api.settings.models_file, twin | changed, plain))


def test_a_quantized_model_that_is_another_one_stops_the_start(engine: Engine, models_file: Path) -> None:
    copy = quantize(models_file.parent / "tiny")
    listed = [{"id": "tiny", "location": "tiny"}, {"id": "q", "location": "quantized", "trained_as": "tiny"}]
    write_weights(copy / "model.safetensors", shape=[4, 5], dtype="F8_E4M3")
    with pytest.raises(BadModelsFile, match="model q: quantized and tiny are not one model"):
        register_models(engine, allow(models_file, *listed))


def test_training_in_four_bits_may_need_less_than_the_workers_have(engine: Engine, models_file: Path) -> None:
    """35B: 81 GiB to be trained plainly, 21 in 4 bits; 72 to be sampled, which no 64 GiB hold."""
    write_weights(models_file.parent / "tiny/model.safetensors", shape=[1000, 35 * 10**6], dtype="BF16")
    listed = {"id": "tiny", "location": "tiny"}
    register_models(engine, allow(models_file, listed | {"requires": {"gpu_memory_gib": 80}}))
    with reading(engine) as session:
        model = session.get_one(Model, "tiny")
        assert too_large(session, model, None) == pytest.approx(81, rel=0.01)
        assert too_large(session, model, "nf4") is None
    with pytest.raises(BadModelsFile, match=r"at least 81 GiB .*21 GiB of one GPU, and sampling 72 GiB"):
        register_models(engine, allow(models_file, listed | {"requires": {"gpu_memory_gib": 64}}))


def test_a_model_that_its_own_requirements_cannot_train_stops_the_start(
    engine: Engine, models_file: Path
) -> None:
    write_weights(models_file.parent / "tiny/model.safetensors", numbers=40 * 10**9, dtype="BF16")
    listed = {"id": "tiny", "location": "tiny"}

    def require(**requires: float) -> None:
        register_models(engine, allow(models_file, listed | {"requires": requires}))

    with pytest.raises(BadModelsFile, match=r"at least 93 GiB of GPU memory.* say 1 x 80 GiB"):
        require(gpu_memory_gib=80)
    require(gpu_memory_gib=80, gpus=2)
    require(gpus=1)  # of what memory, it does not say


def test_weights_that_cannot_be_read_are_refused_with_the_name_of_the_model(
    engine: Engine, models_file: Path
) -> None:
    weights = models_file.parent / "tiny/model.safetensors"
    allow(models_file, {"id": "tiny", "location": "tiny", "requires": {"gpu_memory_gib": 80}})
    weights.write_bytes(b"a pointer to a file that was not downloaded")
    with pytest.raises(BadModelsFile, match=r"model tiny: .*model\.safetensors is not in the safetensors"):
        register_models(engine, models_file)
    weights.rename(weights.with_suffix(".bin"))
    with pytest.raises(BadModelsFile, match=r"model tiny: .*has no safetensors files"):
        register_models(engine, models_file)


def test_a_context_that_no_gpu_would_hold_is_shortened_unless_the_list_says_it(
    engine: Engine, models_file: Path
) -> None:
    config = models_file.parent / "tiny" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"max_position_embeddings": 131_072}))
    register_models(engine, models_file)
    assert known(engine, "tiny").context_length == LONGEST_CONTEXT
    allow(models_file, {"id": "tiny", "location": "tiny", "context_length": 131_072})
    register_models(engine, models_file)
    assert known(engine, "tiny").context_length == 131_072


def test_named_allow_list_that_is_missing_stops_the_start(sqlite_database_url: str, tmp_path: Path) -> None:
    settings = Settings(
        home=tmp_path, database_url=sqlite_database_url, models_file=tmp_path / "missing.yaml"
    )
    with pytest.raises(BadModelsFile, match=r"missing\.yaml"), TestClient(create_app(settings)):
        pass


def test_api_shows_hashes_and_licence_but_not_where_the_files_lie(api: Api) -> None:
    model = api.client.get(f"/v1/models/{MODEL}").json()
    assert (model["object"], model["license"], model["context_length"]) == ("model", "apache-2.0", CONTEXT)
    assert model["files"]["model.safetensors"] == sha256(WEIGHTS).hexdigest()
    assert str(api.settings.home) not in json.dumps(model)
    assert api.client.get("/v1/models/unknown").status_code == 404


def test_model_taken_off_the_list_is_gone_for_new_jobs(sqlite_database_url: str, tmp_path: Path) -> None:
    with serve(sqlite_database_url, tmp_path / "home") as api:
        body = api.job_body()
        models_file = api.settings.models_file
        key = dict(api.client.headers)["authorization"]
    make_model(models_file.parent / "new")
    allow(models_file, {"id": "new", "location": "new"})
    with TestClient(create_app(api.settings), headers={"Authorization": key}) as client:
        assert [model["id"] for model in client.get("/v1/models").json()["data"]] == ["new"]
        assert client.get(f"/v1/models/{MODEL}").status_code == 404
        answer = client.post("/v1/jobs", json=body)
        assert (answer.status_code, answer.json()["code"]) == (422, "unknown_model")
        assert "new" in answer.json()["errors"][0]["fix"]
