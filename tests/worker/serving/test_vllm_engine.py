"""vLLM's server as a child: started, asked, lost and started again. A small HTTP server stands in for vLLM;
tests/worker/serving/test_real_vllm.py asks the real one.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from app.database import new_id, transaction
from app.storage import Storage
from app.tables.rationales import Adapter
from star_engine.adapters.layout import CONFIG, WEIGHTS
from star_engine.gpu.vllm_server import ServerSettings
from tests.databases import PROJECT
from tests.factories import MODEL, World, make_world
from tests.worker.gpus import wait_until
from tests.worker.serving.test_engine import Told, running
from worker.context import WorkerContext
from worker.serving import vllm_engine
from worker.serving.vllm_child import VllmChild
from worker.serving.vllm_engine import VllmEngine
from worker.serving.waiting import BROKEN, UNREADY, Target

SMALL = ("-m", "tests.worker.serving.small_server")
BASE = Target(MODEL, None)


@pytest.fixture
def world(sqlite_database_url: str, tmp_path: Path) -> Iterator[World]:
    world = make_world(sqlite_database_url, tmp_path / "home", sampler="transformers")
    yield world
    world.engine.dispose()


def engine_of(world: World, device: str = "cpu", **changes: Any) -> VllmEngine:
    def start(settings: ServerSettings, log: Path, bos: str) -> VllmChild:
        return VllmChild(replace(settings, **changes), log, bos=bos, command=SMALL)

    context = world.worker_context()
    context.settings = context.settings.model_copy(update={"device": device, "serving_queue": 32})
    return VllmEngine(context, start)


@contextmanager
def served(world: World, device: str = "cpu", **changes: Any) -> Iterator[tuple[VllmEngine, Told]]:
    engine = engine_of(world, device, **changes)
    with running(engine):
        yield engine, Told()


def ask(engine: VllmEngine, told: Told, name: str, prompt: str, target: Target = BASE, **how: Any) -> str:
    """The whole text, or what is said of it."""
    engine.submit(told.ticket(name, "a", target, prompt, **how))
    wait_until(lambda: name in told.ended(), f"{name} does not end")
    return told.of(name) or str(told.pieces[-1].error)


def adapters(world: World, count: int) -> list[Target]:
    """Adapters of as many jobs, each with weights of its own."""
    storage, targets = Storage(world.settings.resolved_storage_url()), []
    for number in range(count):
        job_id, name = world.submit(), new_id("adp")
        files = []
        for path in (CONFIG, WEIGHTS):
            content = world.settings.home / f"{number}-{path}"
            content.write_text(f"{path} {number}")
            sha = storage.put_file(content)
            files.append({"path": path, "size_bytes": 1, "sha256": sha})
        with transaction(world.engine) as session:
            session.add(
                Adapter(
                    id=name,
                    job_id=job_id,
                    iteration_number=1,
                    files=files,
                    training={},
                    verification={"loads": True},
                )
            )
        targets.append(Target(MODEL, name))
    return targets


def test_text_comes_whole_or_as_it_is_written_with_its_usage(world: World) -> None:
    with served(world) as (engine, told):
        whole = ask(engine, told, "whole", "say this")
        assert "say this" in whole
        assert (told.pieces[-1].prompt_tokens, told.pieces[-1].tokens) == (2, 3)
        streamed = ask(engine, told, "streamed", "say this", stream=True)
        assert streamed == whole.replace("|", "")
        assert told.pieces[-1].finish_reason == "length"
        assert (told.pieces[-1].prompt_tokens, told.pieces[-1].tokens) == (2, 3)
        assert sum(piece.key == "streamed" for piece in told.pieces) == 3
        assert ask(engine, told, "long", "refuse me") == "this prompt is too long"
        assert engine.loaded == MODEL


def test_server_that_dies_loses_what_it_wrote_and_is_started_again(world: World) -> None:
    with served(world) as (engine, told):
        first = ask(engine, told, "first", "who").rpartition("|")[2]
        engine.submit(told.ticket("hangs", "b", BASE, "hang"))
        assert ask(engine, told, "dies", "die") == BROKEN
        wait_until(lambda: "hangs" in told.ended(), "the other text is not given up")
        assert ask(engine, told, "next", "who").rpartition("|")[2] != first


def test_server_that_dies_while_nobody_asks_is_started_again(world: World) -> None:
    with served(world) as (engine, told):
        pid = int(ask(engine, told, "first", "who").rpartition("|")[2])
        os.kill(pid, signal.SIGKILL)
        home = psutil.Process()

        def others() -> list[int]:
            return [one.pid for one in home.children(recursive=True) if _serves(one) and one.pid != pid]

        wait_until(lambda: bool(others()) and engine.loaded == MODEL, "it is not started again")
        assert int(ask(engine, told, "next", "who").rpartition("|")[2]) in others()


def _serves(process: psutil.Process) -> bool:
    try:
        return SMALL[1] in process.cmdline() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_server_that_does_not_start_is_said_to_be_unready(world: World) -> None:
    with served(world, options={"broken": True}) as (engine, told):
        assert ask(engine, told, "one", "who") == UNREADY
        assert engine.loaded is None
    assert "it does not start" in next((world.settings.home / "worker").glob("serving*.log")).read_text()


def test_adapter_is_merged_on_cpu_and_another_one_waits_for_its_turn(world: World, tmp_path: Path) -> None:
    one, other = adapters(world, 2)
    with served(world) as (engine, told):
        assert ask(engine, told, "base", "who").startswith("|")
        engine.submit(told.ticket("late", "a", one, f"late {tmp_path / 'go'}"))
        engine.submit(told.ticket("waits", "a", other, "who"))
        wait_until(lambda: engine._waiting.next_target() == other, "the first one is not begun")
        (tmp_path / "go").touch()
        wait_until(lambda: "waits" in told.ended(), "the second one is not written")
        assert told.ended() == ["base", "late", "waits"]
        assert told.of("late").startswith(f"{one.adapter_id}|")
        assert told.of("waits").startswith(f"{other.adapter_id}|")
        assert ask(engine, told, "again", "who").startswith("|"), "the base model, after the adapters"


def test_adapters_share_a_gpu_and_the_one_asked_longest_ago_makes_room(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vllm_engine, "LOADED", 2)
    one, two, three = adapters(world, 3)
    with served(world, "cuda") as (engine, told):
        engine.submit(told.ticket("held", "a", one, f"late {tmp_path / 'go'}"))
        assert ask(engine, told, "two", "who", two).startswith(f"{two.adapter_id}|"), "beside the first one"
        assert ask(engine, told, "three", "who", three).startswith(f"{three.adapter_id}|")
        assert ask(engine, told, "base", "who").startswith("|")
        assert "held" not in told.ended()
        (tmp_path / "go").touch()
        wait_until(lambda: "held" in told.ended(), "the first one does not end")
        assert told.of("held").startswith(f"{one.adapter_id}|"), "it was not unloaded while it wrote"


def test_texts_of_one_adapter_fetch_its_files_once(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [one] = adapters(world, 1)
    with served(world, "cuda") as (engine, told):
        unpack, fetched = WorkerContext.unpack, list[Adapter]()

        def counted(context: WorkerContext, adapter: Adapter) -> Path:
            fetched.append(adapter)
            return unpack(context, adapter)

        monkeypatch.setattr(WorkerContext, "unpack", counted)
        for name in ("first", "second"):
            engine.submit(told.ticket(name, "a", one, f"late {tmp_path / 'go'}"))
        wait_until(lambda: len(engine._tasks) == 2, "they are not begun")
        (tmp_path / "go").touch()
        wait_until(lambda: len(told.ended()) == 2, "they do not end")
    assert len(fetched) == 1


def test_text_that_fails_unforeseen_is_said_to_have_failed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("nobody has thought of this")

    with served(world) as (engine, told):
        monkeypatch.setattr(VllmChild, "write", broken)
        assert ask(engine, told, "one", "who") == UNREADY
        monkeypatch.undo()
        assert ask(engine, told, "two", "who").startswith("|")


def test_stop_ends_the_server_and_what_it_writes(world: World) -> None:
    with served(world) as (engine, told):
        pid = int(ask(engine, told, "first", "who").rpartition("|")[2])
        engine.submit(told.ticket("hangs", "a", BASE, "hang"))
        wait_until(lambda: not engine._waiting, "it is not begun")
    assert told.pieces[-1].error == BROKEN
    assert not psutil.pid_exists(pid)


def test_text_that_was_given_up_is_left_by_the_server(world: World) -> None:
    with served(world) as (engine, told):
        gone = told.ticket("gone", "a", BASE, "hang")
        engine.submit(gone)
        wait_until(lambda: engine.loaded == MODEL and not engine._waiting, "it is not begun")
        engine.drop(gone)
        ask(engine, told, "next", "who")
        wait_until(lambda: not engine._tasks, "it is still asked for")
        assert told.ended() == ["next"]


def test_server_dies_with_whoever_started_it(tmp_path: Path) -> None:
    program = (
        "import asyncio, pathlib; from star_engine.gpu.vllm_server import ServerSettings\n"
        "from worker.serving.vllm_child import VllmChild\n"
        "async def main():\n"
        f"  log, command = pathlib.Path({str(tmp_path / 'log')!r}), {SMALL}\n"
        "  child = VllmChild(ServerSettings('m', ''), log, command=command)\n"
        "  await child.ready(); print(child.pid, flush=True); await asyncio.sleep(600)\n"
        "asyncio.run(main())"
    )
    with subprocess.Popen([sys.executable, "-c", program], cwd=PROJECT, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        assert child.is_running()
        parent.kill()
    wait_until(
        lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE, "it outlives its parent"
    )
