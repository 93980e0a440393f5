"""The notebooks of the documentation run from their first cell to their last."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

from tests.platforms import wait_until
from tests.star_client.test_serve import STAR, free_port

NOTEBOOKS = Path(__file__).parents[2] / "docs" / "notebooks"


def run_notebook(name: str, folder: Path) -> str:
    """Run a notebook's cells in `folder`; what they printed and returned. Raises CellExecutionError."""
    notebook: Any = nbformat.read(NOTEBOOKS / name, as_version=4)  # type: ignore[no-untyped-call]
    resources = {"metadata": {"path": folder}}
    NotebookClient(notebook, timeout=600, kernel_name="python3", resources=resources).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    return "\n".join(one.get("text") or one.get("data", {}).get("text/plain", "") for one in outputs)


@contextmanager
def served(folder: Path) -> Iterator[None]:
    """`star serve` in `folder`, as the notebook asks for it."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("STAR_")}
    command = [*STAR, "serve", "--port", str(free_port())]
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log) as platform,
    ):
        try:
            wait_until((folder / ".star" / "url").exists, "the platform answers")
            yield
        finally:
            platform.send_signal(signal.SIGINT)


def test_the_engine_in_a_notebook(tmp_path: Path) -> None:
    said = run_notebook("engine.ipynb", tmp_path)
    assert "(60, 28, 12)" in said
    assert "stopped" in said
    assert list(tmp_path.rglob("adapter_model.safetensors"))


def test_a_first_job_in_a_notebook(tmp_path: Path) -> None:
    with served(tmp_path):
        said = run_notebook("first-job.ipynb", tmp_path)
    assert "'succeeded'" in said
    assert "# STaR report" in said
    assert "rationalized" in said
