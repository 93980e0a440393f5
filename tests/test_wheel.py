"""The wheel without the checkout: it serves, migrates, offers the demo's model and knows the demo."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sysconfig
import venv
from itertools import takewhile
from pathlib import Path
from zipfile import ZipFile

import pytest

from tests.databases import PROJECT
from worker.valkey import free_port

UV = shutil.which("uv") or str(PROJECT / ".uv" / "bin" / "uv")


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of an empty environment with the built wheel; its dependencies are those of this environment."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [UV, "build", "--wheel", "--quiet", "--out-dir", str(folder), str(PROJECT)]
    built = subprocess.run(command, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    venv.create(folder / "venv", symlinks=True)
    [site] = (folder / "venv" / "lib").glob("python*/site-packages")
    [wheel] = folder.glob("*.whl")
    with ZipFile(wheel) as packed:
        packed.extractall(site)
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")  # a .pth of it is not read
    return folder / "venv" / "bin" / "python"


@pytest.mark.long
def test_the_wheel_serves_from_a_folder_of_its_own(python: Path, tmp_path: Path) -> None:
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    where = "import app, examples.addition.demo as demo; print(app.__file__, demo.__file__)"
    found = subprocess.run(
        [python, "-P", "-c", where], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert found.returncode == 0, found.stderr
    assert str(PROJECT) not in found.stdout
    serve = [str(python), "-m", "star_client.cli.main", "serve", "--port", str(free_port())]
    with subprocess.Popen(
        serve, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True
    ) as platform:
        try:
            assert platform.stderr is not None
            said = list(takewhile(lambda line: "platform_ready" not in line, platform.stderr))
            assert platform.poll() is None, said
            command = [str(python), "-m", "star_client.cli.main", "models", "list", "--json"]
            listed = subprocess.run(
                command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
            )
            assert '"id":"addition-tiny"' in listed.stdout
        finally:
            platform.send_signal(signal.SIGINT)
    assert platform.returncode == 0


@pytest.mark.long
def test_the_wheel_migrates_a_database_by_hand(python: Path, tmp_path: Path) -> None:
    environment = {"PATH": "/usr/bin:/bin", "STAR_DATABASE_URL": f"sqlite:///{tmp_path / 'by-hand.db'}"}
    subprocess.run([python, "-P", "-m", "app.migrations"], cwd=tmp_path, env=environment, check=True)
    assert (tmp_path / "by-hand.db").stat().st_size > 0
