"""`star models add`: from a hub, with its real client, or from a folder, onto the allow-list."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import constants

from app.database import make_engine, reading
from app.ledger.data.base_models import BadModelsFile, register_models
from app.tables.data import Model
from tests.app.api_harness import make_model
from tests.databases import PROJECT
from tests.hub_server import Hub, Repository, running_hub
from worker.hub.__main__ import DONE, NO_SPARK, REFUSED, main

COMMENTS = "# Only operators write here.\n- id: old  # kept for the report of May\n  location: old\n"
TINY = PROJECT / "examples" / "carry" / "model"
NAME = "acme/tiny-1b"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with running_hub() as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.url + "/{repo_id}/resolve/{revision}/{filename}"
        )
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        hub.repositories[NAME] = Repository(
            {path.name: path.read_bytes() for path in TINY.iterdir()}
            | {"README.md": b"card", "training.py": b"import os", "pytorch_model.bin": b"pickled"},
            license="apache-2.0",
        )
        yield hub


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the command works: an allow-list with a comment, and a sampler that needs no torch."""
    monkeypatch.setenv("STAR_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("STAR_MODELS_FILE", str(tmp_path / "models.yaml"))
    monkeypatch.setenv("STAR_SAMPLER", "scripted")
    monkeypatch.setenv("STAR_SAMPLER_SCRIPT", "tests.worker.hub.scripts:knows_sums")
    make_model(tmp_path / "old")
    (tmp_path / "models.yaml").write_text(COMMENTS)
    return tmp_path


def entries(home: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = yaml.safe_load((home / "models.yaml").read_text())
    return found


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["add", *arguments]) == REFUSED
    return capsys.readouterr().err


def test_model_of_a_hub_is_downloaded_pinned_and_listed_below_what_is_there(hub: Hub, home: Path) -> None:
    assert main(["add", NAME]) == DONE
    assert (home / "models.yaml").read_text().startswith(COMMENTS)
    entry = entries(home)[-1]
    assert (entry["id"], entry["license"], entry["context_length"]) == (NAME, "apache-2.0", 1024)
    assert entry["revision"] == hub.repositories[NAME].commit
    assert entry["files"] == {path.name: sha256(path.read_bytes()).hexdigest() for path in TINY.iterdir()}


def test_neither_code_nor_pickle_is_downloaded(hub: Hub, home: Path) -> None:
    assert main(["add", NAME]) == DONE
    assert not [line for line in hub.asked if line.endswith((".py", ".bin"))]
    folder = home / entries(home)[-1]["location"]
    assert {path.name for path in folder.iterdir() if path.is_file()} == {
        path.name for path in TINY.iterdir()
    }


def test_start_registers_the_new_model_and_refuses_it_once_a_file_has_changed(
    hub: Hub, home: Path, sqlite_database_url: str
) -> None:
    assert main(["add", f"{NAME}@{hub.repositories[NAME].commit}"]) == DONE
    engine = make_engine(sqlite_database_url)
    assert register_models(engine, home / "models.yaml") == {"old", NAME}
    with reading(engine) as session:
        assert session.get_one(Model, NAME).revision == hub.repositories[NAME].commit
    weights = home / entries(home)[-1]["location"] / "model.safetensors"
    weights.write_bytes(weights.read_bytes() + b"x")
    with pytest.raises(BadModelsFile, match=r"model\.safetensors"):
        register_models(engine, home / "models.yaml")
    engine.dispose()


def test_folder_is_listed_where_it_lies(home: Path) -> None:
    make_model(home / "mine")
    assert main(["add", str(home / "mine"), "--license", "mit"]) == DONE
    entry = entries(home)[-1]
    assert (entry["id"], entry["location"], entry["license"]) == ("mine", "mine", "mit")
    assert "revision" not in entry


def test_model_that_is_listed_already_is_not_downloaded_again(
    hub: Hub, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["add", NAME]) == DONE
    hub.asked.clear()
    assert "--id" in refused(capsys, NAME)
    assert hub.asked == []
    assert main(["add", NAME, "--id", "again"]) == DONE
    assert [entry["id"] for entry in entries(home)] == ["old", NAME, "again"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model.safetensors": None}, "format can run code"),
        ({"model.safetensors": None, "pytorch_model.bin": None}, "no *.safetensors"),
        ({"tokenizer.json": None}, "no tokenizer.json"),
        ({"config.json": json.dumps({"auto_map": {"AutoModel": "m.M"}}).encode()}, "auto_map"),
        ({"config.json": b"{}"}, "context_length"),
        ({"config.json": b"["}, "no JSON"),
        ({"config.json": None, "adapter_config.json": b"{}"}, "base model that its adapter_config.json"),
    ],
)
def test_repository_that_cannot_be_used_is_refused_with_what_is_wrong(
    hub: Hub, home: Path, capsys: pytest.CaptureFixture[str], change: dict[str, bytes | None], words: str
) -> None:
    files = hub.repositories[NAME].files | change
    hub.repositories[NAME].files = {name: content for name, content in files.items() if content is not None}
    assert words in refused(capsys, NAME)
    assert (home / "models.yaml").read_text() == COMMENTS


def test_file_that_is_not_what_the_hub_announced_is_refused(
    hub: Hub, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = hub.repositories[NAME].files["model.safetensors"]
    hub.repositories[NAME].announced = {"model.safetensors": weights[:-1] + b"?"}
    assert "model.safetensors is not the file that the hub announced" in refused(capsys, NAME)
    assert (home / "models.yaml").read_text() == COMMENTS


def test_what_the_hub_refuses_is_told_with_what_to_do(hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    assert "no acme/nothing" in refused(capsys, "acme/nothing")
    assert "no revision 'v9'" in refused(capsys, f"{NAME}@v9")
    hub.repositories[NAME].gated = True
    assert "accept its terms" in refused(capsys, NAME)
    assert "no ORG/NAME" in refused(capsys, "just-a-word")


def test_hub_that_cannot_be_reached_is_said(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with running_hub() as gone:
        monkeypatch.setattr(constants, "ENDPOINT", gone.url)
    assert "could not be read" in refused(capsys, NAME)


@pytest.mark.parametrize("risk", ["model.py", "weights.pt", "optimizer.bin"])
def test_folder_with_files_that_can_run_code_is_refused(
    home: Path, capsys: pytest.CaptureFixture[str], risk: str
) -> None:
    make_model(home / "mine")
    (home / "mine" / risk).write_bytes(b"")
    assert f"holds {risk}" in refused(capsys, str(home / "mine"))


def test_model_that_does_not_run_is_not_listed(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_model(home / "mine")
    monkeypatch.setenv("STAR_SAMPLER_SCRIPT", "tests.worker.hub.scripts:breaks")
    assert "does not run here" in refused(capsys, str(home / "mine"))
    assert (home / "models.yaml").read_text() == COMMENTS


@pytest.mark.parametrize("written", ["[]", "[{id: old, location: old}]\n", "- id: old\n  location: [\n"])
def test_allow_list_that_cannot_be_added_to_is_left_as_it_is(
    home: Path, capsys: pytest.CaptureFixture[str], written: str
) -> None:
    (home / "models.yaml").write_text(written)
    make_model(home / "mine")
    assert str(home / "models.yaml") in refused(capsys, str(home / "mine"))
    assert (home / "models.yaml").read_text() == written


def test_star_command_adds_a_real_model_through_a_mirror(hub: Hub, home: Path) -> None:
    """As an operator does it: HF_ENDPOINT in the environment, weights that are loaded and write a token."""
    environment = os.environ | {"HF_ENDPOINT": hub.url, "STAR_SAMPLER": "transformers"}
    environment |= {"HF_HOME": str(home / "cache")}
    command = [sys.executable, "-m", "star_client.cli.main", "models", "add", NAME]
    added = subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True)
    assert added.returncode == DONE, added.stderr
    assert f"{NAME} is on" in added.stdout
    assert entries(home)[-1]["revision"] == hub.repositories[NAME].commit


def write_questions(home: Path) -> list[str]:
    rows = [{"question": f"What is {a} + {a}?", "answer": str(2 * a)} for a in range(1, 31)]
    (home / "sums.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    shown = {"question": "What is 50 + 50?", "answer": "100", "rationale": "50 and 50 are 100. #### 100"}
    (home / "prompts.json").write_text(json.dumps({"kind": "numeric", "examples": [shown]}))
    data, prompts = str(home / "sums.jsonl"), str(home / "prompts.json")
    return ["check", "old", "--data", data, "--kind", "numeric", "--prompt-set", prompts]


def test_check_tells_a_model_that_knows_the_task(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(write_questions(home)) == DONE
    assert "20 of 20 right" in capsys.readouterr().out


def test_check_tells_a_model_that_only_guesses_and_what_it_said(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAR_SAMPLER_SCRIPT", "tests.worker.hub.scripts:knows_nothing")
    assert main(write_questions(home)) == NO_SPARK
    told = capsys.readouterr().out
    assert "0 of 20 right" in told
    assert "no spark" in told
    assert "#### 7" in told
