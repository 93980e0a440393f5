"""Runs the whole platform on one machine: Valkey, API, scheduler, sandbox, a worker and a server of models.

    python -m worker.embedded [--port 8000] [--with-stdin]

The processes are those of docker-compose.yml; only their settings differ.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import structlog

from app.database import make_engine
from app.keys import ensure_default_key
from app.ledger.data.base_models import register_models
from app.log import configure_logging
from app.migrations import migrate
from app.settings import Settings
from app.sign_in_link import forget_token, make_token
from worker import supervised_process
from worker.one_machine.greeting import greeting
from worker.one_machine.own_folder import ROOT, absolute_paths, models_file
from worker.valkey import free_port, start_private_valkey

log = structlog.get_logger()

READY_SECONDS = 300.0  # a busy machine takes long; a part that has ended is noticed at once
WORKER_GRACE_SECONDS = 45.0  # SIGTERM: hand the step back
CELERY = ("-m", "celery", "-A", "worker.celery", "worker", "--without-gossip", "--without-mingle")


class AlreadyRunning(RuntimeError):
    """Another platform uses this folder."""


def run(settings: Settings, port: int, stopping: threading.Event) -> None:
    """Start everything, wait for `stopping` or the end of any part, stop everything.

    A Valkey that ends is started again: it holds nothing that the ledger does not.
    """
    home = settings.home.absolute()
    home.mkdir(parents=True, exist_ok=True)
    _make_private(home)
    with _only_one(home), ExitStack() as stack:
        _refuse_taken(port)
        # Not below home, whose path may be longer than the 107 characters of a socket's.
        private = Path(stack.enter_context(TemporaryDirectory(prefix="star-")))
        valkey = _Valkey(home / "valkey", private / "valkey.sock")
        stack.callback(valkey.stop)
        models = _prepare(settings, home)
        forget_token(home)  # of a start that was killed
        stack.callback(forget_token, home)
        environment = {**os.environ, **absolute_paths(settings), "STAR_BROKER_URL": valkey.url}
        environment.setdefault("STAR_SANDBOX_URL", _sandbox_url(settings))
        parts = dict(_start_parts(stack, environment, home, port))
        url = f"http://127.0.0.1:{port}"
        _wait_until_ready(url, parts, home / "logs", stopping)
        (home / "url").write_text(url + "\n")
        stack.callback((home / "url").unlink, missing_ok=True)
        if sys.stdout.isatty() and not stopping.is_set():
            sys.stdout.write(greeting(url, make_token(home), home, models))
            sys.stdout.flush()
        log.info("platform_ready", url=url, home=str(home))
        while not stopping.wait(0.5):
            valkey.keep()
            _refuse_dead_parts(parts, home / "logs")


def _prepare(settings: Settings, home: Path) -> frozenset[str]:
    """Migrate, make the key, check the base models; returns their ids. Raises BadModelsFile."""
    migrate(settings.resolved_database_url())
    engine = make_engine(settings.resolved_database_url())
    ensure_default_key(engine, home)
    return register_models(engine, models_file(settings), home / "model-hashes.json")


def _sandbox_url(settings: Settings) -> str:
    """Where this platform's own sandbox will answer; nowhere where it is switched off."""
    return "" if settings.sandbox == "off" else f"http://127.0.0.1:{free_port()}"


class _Valkey:
    """The broker of this platform, at the same socket whenever it is started."""

    def __init__(self, directory: Path, socket_path: Path) -> None:
        self._where = directory, socket_path
        self._running = start_private_valkey(*self._where)
        self.url = self._running.url

    def keep(self) -> None:
        """Start it again if it has ended. Raises ValkeyUnavailable, a RuntimeError, if that does not help."""
        if (status := self._running.process.poll()) is not None:
            log.warning("valkey_ended", status=status)
            self._running = start_private_valkey(*self._where)

    def stop(self) -> None:
        self._running.stop()


def _refuse_taken(port: int) -> None:
    """Say so before anything is started, not in the log of a part that ends at once."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as failure:
            reason = os.strerror(failure.errno or 0)
            raise RuntimeError(
                f"Port {port} of 127.0.0.1 cannot be used: {reason}. Take another, or end what has it."
            ) from failure


def _start_parts(
    stack: ExitStack, environment: dict[str, str], home: Path, port: int
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    logs = home / "logs"
    logs.mkdir(exist_ok=True)
    commands = {
        "api": ("-m", "app.server", "--port", str(port)),
        "scheduler": ("-m", "worker.scheduler"),
        "worker": CELERY,
        "serving": ("-m", "worker.serving"),
    }
    own = urllib.parse.urlsplit(environment["STAR_SANDBOX_URL"])
    if own.port and environment["STAR_SANDBOX_URL"] != os.environ.get("STAR_SANDBOX_URL"):
        commands["sandbox"] = ("-m", "worker.sandbox.service", "--port", str(own.port))
    for name, arguments in commands.items():
        # The sandbox is told nothing: it needs no setting of this platform, and has no secret to lose.
        own_environment = {"PATH": os.environ.get("PATH", "")} if name == "sandbox" else environment
        with (logs / f"{name}.log").open("ab") as output:
            grace = WORKER_GRACE_SECONDS if name == "worker" else 10.0
            part = supervised_process.start(
                [sys.executable, *arguments], cwd=ROOT, env=own_environment, output=output, grace_s=grace
            )
        stack.callback(supervised_process.stop, part)
        yield name, part


def _wait_until_ready(
    url: str, parts: dict[str, subprocess.Popen[bytes]], logs: Path, stopping: threading.Event
) -> None:
    for _ in range(int(READY_SECONDS / 0.1)):
        _refuse_dead_parts(parts, logs)
        try:
            urllib.request.urlopen(f"{url}/readyz", timeout=5).close()  # noqa: S310 - our own http URL
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            if stopping.wait(0.1):
                return
        else:
            return
    raise RuntimeError(f"The API did not answer within {READY_SECONDS:.0f} s; see {logs}/api.log.")


def _refuse_dead_parts(parts: dict[str, subprocess.Popen[bytes]], logs: Path) -> None:
    for name, part in parts.items():
        if part.poll() is not None:
            file = logs / f"{name}.log"
            said = _last_error(file.read_text(errors="replace"))
            raise RuntimeError(
                f"The {name} ended with status {part.returncode}{f': {said}' if said else ''}; see {file}."
            )


def _last_error(text: str) -> str | None:
    """The last line with which a traceback of a log ends: `ValueError: ...`."""
    _, found, last = text.rpartition("Traceback (most recent call last)")
    lines = [line for line in last.splitlines() if re.match(r"(\w+\.)*\w+(: |$)", line)] if found else []
    return lines[0] if lines else None


def _make_private(home: Path) -> None:
    """Take from others what they may still read or write here, made by a version that set no umask.

    Questions, rationales and hashes of keys are nobody else's on this machine.
    """
    changed = 0
    for path in (home, *home.rglob("*")):
        with suppress(FileNotFoundError):  # a file that a part of an older version is just removing
            mode = stat.S_IMODE(path.lstat().st_mode)
            if not path.is_symlink() and mode & 0o077:
                path.chmod(mode & 0o700)
                changed += 1
    if changed:
        log.info("files_made_private", home=str(home), count=changed)


@contextmanager
def _only_one(home: Path) -> Iterator[None]:
    with (home / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise AlreadyRunning(f"A platform is already running in {home}.") from error
        yield


def _stop_at_end_of_input(stopping: threading.Event) -> None:
    sys.stdin.read()
    stopping.set()


def main() -> None:
    parser = argparse.ArgumentParser(prog="star serve", description="Run the whole platform on this machine.")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--with-stdin", action="store_true", help="stop when standard input is closed")
    arguments = parser.parse_args()
    configure_logging()
    os.umask(0o077)  # for all that it and its parts write
    stopping = threading.Event()

    def stop(_number: int, _frame: object) -> None:
        stopping.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    if arguments.with_stdin:  # however the starting process ends, this is noticed
        threading.Thread(target=_stop_at_end_of_input, args=(stopping,), daemon=True).start()
    try:
        run(Settings(), arguments.port, stopping)
    except (AlreadyRunning, RuntimeError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
