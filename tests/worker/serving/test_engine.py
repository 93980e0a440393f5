"""Whose texts are written next: projects in turn, one adapter after another, within a bounded queue."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from app.database import make_engine, transaction
from app.settings import Settings
from app.storage import Storage
from app.tables.data import Model
from star_engine.protocols import SamplingParams
from star_engine.writing import Piece, WriteRequest
from tests.app.api_harness import make_model
from tests.worker.gpus import wait_until
from worker.context import WorkerContext
from worker.serving import waiting as serving
from worker.serving.engine import Engine
from worker.serving.vllm_engine import VllmEngine
from worker.serving.waiting import BROKEN, UNREADY, Full, Target, Ticket

TINY, OTHER = Target("tiny", None), Target("other", None)


@pytest.fixture
def context(sqlite_database_url: str, tmp_path: Path) -> Iterator[WorkerContext]:
    database = make_engine(sqlite_database_url)
    make_model(tmp_path / "model")
    with transaction(database) as session:
        for name in ("tiny", "other"):
            model = Model(id=name, location=str(tmp_path / "model"), files={}, context_length=100)
            session.add(model)
    settings = Settings(
        home=tmp_path / "home",
        sampler="scripted",
        sampler_script="tests.worker.gpu_scripts:obey",
        sampler_batch=2,
        serving_queue=8,
        serving_idle_seconds=60,
    )
    yield WorkerContext(database, Storage(str(tmp_path / "files")), settings, "serving:1", lambda: False)
    database.dispose()


class Told:
    """What was said of tickets, in order."""

    def __init__(self) -> None:
        self.pieces: list[Piece] = []

    def ticket(
        self, name: str, project: str, target: Target = TINY, prompt: str = "echo ok", *, stream: bool = False
    ) -> Ticket:
        request = WriteRequest(name, prompt, SamplingParams(max_tokens=200), stream=stream)
        return Ticket(target, project, (request,), self.pieces.append)

    def ended(self) -> list[str]:
        return [piece.key for piece in self.pieces if piece.ends]

    def of(self, name: str) -> str:
        return "".join(piece.text for piece in self.pieces if piece.key == name)


@contextmanager
def running(engine: Engine | VllmEngine) -> Iterator[None]:
    thread = threading.Thread(target=engine.run)
    thread.start()
    try:
        yield
    finally:
        engine.stop()
        thread.join()


def test_projects_take_turns_however_many_texts_one_of_them_has_sent(context: WorkerContext) -> None:
    told, engine = Told(), Engine(context)
    for name, project in (("a1", "a"), ("a2", "a"), ("a3", "a"), ("b1", "b")):
        engine.submit(told.ticket(name, project))
    with running(engine):
        wait_until(lambda: len(told.ended()) == 4, "not all texts end")
    assert told.ended().index("b1") < told.ended().index("a2")


def test_queue_takes_no_more_than_its_bound_and_half_of_it_for_a_project(context: WorkerContext) -> None:
    told, engine = Told(), Engine(context)
    for number in range(4):
        engine.submit(told.ticket(f"a{number}", "a"))
    with pytest.raises(Full, match="half of the queue"):
        engine.submit(told.ticket("a4", "a"))
    for number in range(4):
        engine.submit(told.ticket(f"b{number}", "b"))
    with pytest.raises(Full, match="More texts wait"):
        engine.submit(told.ticket("c0", "c"))
    with running(engine):
        wait_until(lambda: len(told.ended()) == 8, "not all texts end")
        engine.submit(told.ticket("a5", "a"))
        wait_until(lambda: len(told.ended()) == 9, "the queue has not become free")


def test_another_model_gets_its_turn_while_texts_for_the_first_one_keep_coming(
    context: WorkerContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "TURN_SECONDS", 0.0)
    told, engine = Told(), Engine(context)
    engine.submit(told.ticket("first", "a"))
    engine.submit(told.ticket("other", "b", OTHER))
    with running(engine):
        number = 0
        while "other" not in told.ended():
            assert number < 10_000, "the other model never gets its turn"
            if len(told.ended()) > number:
                number = len(told.ended())
                engine.submit(told.ticket(f"more{number}", "a"))
    assert told.of("other") == "ok"


def test_text_that_was_given_up_is_not_written(context: WorkerContext) -> None:
    told, engine = Told(), Engine(context)
    gone = told.ticket("gone", "a")
    engine.submit(gone)
    engine.submit(told.ticket("stays", "a"))
    engine.drop(gone)
    with running(engine):
        wait_until(lambda: told.ended() == ["stays"], "it does not end")
    assert told.of("gone") == ""


@pytest.mark.parametrize(
    ("change", "why"), [(lambda path: path.unlink(), UNREADY), (lambda path: None, None)]
)
def test_model_whose_files_are_not_those_of_the_list_is_said_to_be_unready(
    context: WorkerContext, change: Callable[[Path], Any], why: str | None, tmp_path: Path
) -> None:
    told, engine = Told(), Engine(context)
    with transaction(context.engine) as session:
        session.get_one(Model, "tiny").files = {"model.safetensors": "0" * 64} if why else {}
    change(tmp_path / "model" / "model.safetensors")
    engine.submit(told.ticket("one", "a"))
    with running(engine):
        wait_until(lambda: told.ended() == ["one"], "it does not end")
    assert told.pieces[-1].error == why


def test_stop_ends_what_is_being_written(context: WorkerContext) -> None:
    told, engine = Told(), Engine(context)
    engine.submit(told.ticket("hangs", "a", prompt="hang"))
    with running(engine):
        wait_until(lambda: engine.loaded == "tiny", "no model is loaded")
    assert told.pieces[-1].error == BROKEN


def test_model_that_nobody_asks_gives_its_memory_back(context: WorkerContext) -> None:
    context.settings = context.settings.model_copy(update={"serving_idle_seconds": 0.1})
    told, engine = Told(), Engine(context)
    with running(engine):
        engine.submit(told.ticket("one", "a"))
        wait_until(lambda: told.ended() == ["one"], "it does not end")
        wait_until(lambda: engine.loaded is None, "it keeps the model")
