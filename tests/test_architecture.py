from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.databases import PROJECT

HEAVY = ("torch", "vllm", "transformers", "peft")
IMPORT_AND_LIST = "import importlib, sys; importlib.import_module(sys.argv[1]); print(*sys.modules)"


@pytest.mark.parametrize(
    "module",
    ["app.main", "star_client.cli", "worker.celery", "worker.embedded", "worker.scheduler", "worker.tasks"],
)
def test_fresh_interpreter_imports_it_without_anything_of_a_gpu(module: str) -> None:
    command = [sys.executable, "-c", IMPORT_AND_LIST, module]
    run = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    loaded = run.stdout.split()
    assert module in loaded
    assert [name for name in loaded if name.partition(".")[0] in HEAVY] == []


def test_import_contracts_of_pyproject_are_kept() -> None:
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-logo", "--no-cache"]
    run = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize("package", ["app", "worker", "star_engine", "star_client"])
def test_package_init_files_stay_empty(package: str) -> None:
    """An import there would run before that of any module of the package."""
    assert [path for path in (PROJECT / package).rglob("__init__.py") if path.read_text().strip()] == []
