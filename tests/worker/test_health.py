from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace

import pytest

from tests.databases import PROJECT
from worker.health import driver_problem
from worker.valkey import free_port

# Root may read everything, so the check is made as nobody, once all is imported.
AS_NOBODY = """
import os, sys
from app.ledger.data.base_models import BadModelsFile, register_models
from app.settings import Settings
from pathlib import Path
from worker.health import unreadable_models
settings = Settings()
os.getuid() or os.setuid(65534)
print(*unreadable_models(settings), sep="\\n")
try:
    register_models(None, settings.models_file)
except BadModelsFile as bad:
    print("at the start of the API:", bad)
"""


def health(**settings: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "worker.health"]
    return subprocess.run(command, cwd=PROJECT, env=os.environ | settings, capture_output=True, text=True)


def test_healthy_where_database_and_broker_answer(database_url: str, valkey_url: str) -> None:
    run = health(STAR_DATABASE_URL=database_url, STAR_BROKER_URL=valkey_url)
    assert (run.returncode, run.stderr) == (0, "")


def test_names_each_service_that_does_not_answer_and_no_password(tmp_path: Path) -> None:
    unmigrated = f"sqlite:///{tmp_path / 'empty.db'}"
    run = health(STAR_DATABASE_URL=unmigrated, STAR_BROKER_URL=f"redis://:hunter2@127.0.0.1:{free_port()}/0")
    assert run.returncode == 1
    assert "STAR_DATABASE_URL" in run.stderr
    assert "STAR_BROKER_URL" in run.stderr
    assert "hunter2" not in run.stderr


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Unlike tmp_path, one that every user may enter."""
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.mark.parametrize("shut", ["shut/model/model.safetensors", "shut/model", "shut"])
def test_files_of_a_model_that_cannot_be_read_are_named_with_the_fix(open_folder: Path, shut: str) -> None:
    models = open_folder / "models.yaml"
    models.write_text("- {id: shut, location: shut/model}\n- {id: away, location: away}\n")
    (open_folder / "shut" / "model").mkdir(parents=True)
    (open_folder / "shut" / "model" / "model.safetensors").touch()
    (open_folder / shut).chmod(0)
    environment = os.environ | {"STAR_MODELS_FILE": str(models)}
    command = [sys.executable, "-c", AS_NOBODY]
    run = subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True)
    (open_folder / shut).chmod(0o755)
    assert run.returncode == 0, run.stderr
    lines = run.stdout.splitlines()
    assert [line.split(":")[0] for line in lines] == ["model shut", "at the start of the API"], lines
    for line in lines:
        assert str(open_folder / "shut" / "model") in line
        assert "chmod -R a+rX" in line


def driver(version: int) -> SimpleNamespace:
    """libcuda as far as it is asked; there is no GPU where the tests run."""

    def tell(pointer: object) -> int:
        ctypes.cast(pointer, ctypes.POINTER(ctypes.c_int))[0] = version  # type: ignore[arg-type]
        return 0

    return SimpleNamespace(cuDriverGetVersion=tell)


@pytest.mark.parametrize(("version", "said"), [(12_040, "CUDA 12.4"), (0, "CUDA 0.0")])
def test_an_older_driver_is_named_with_the_version_to_install(version: int, said: str) -> None:
    problem = driver_problem(lambda _: driver(version))
    assert problem is not None
    assert said in problem
    assert "driver 580 or newer" in problem


def test_a_driver_that_is_new_enough_is_no_problem() -> None:
    assert driver_problem(lambda _: driver(13_000)) is None


def test_a_worker_for_cuda_without_a_driver_is_told_of_the_toolkit(
    sqlite_database_url: str, valkey_url: str
) -> None:
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        run = health(STAR_DATABASE_URL=sqlite_database_url, STAR_BROKER_URL=valkey_url, STAR_DEVICE="cuda")
        assert run.returncode == 1
        assert "NVIDIA container toolkit" in run.stderr
    else:
        pytest.skip("a driver is installed here")
