"""An upload is seen whole or not at all, whatever happens in the middle of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, cast

import pytest
from sqlalchemy import func, select, update

from app.data.datasets import upload_dataset
from app.database import clock, reading, transaction
from app.errors import Invalid, NotFound, Unavailable
from app.intake.lines import line_of
from app.intake.uploaded_file import CheckedFile, HowToRead, Received
from app.ledger.data import staging
from app.ledger.data.datasets import get_dataset, list_datasets
from app.ledger.data.staging import remove_abandoned, store_dataset
from app.tables.data import Dataset, Example
from star_engine.tasks.kind import Kind
from tests.databases import PROJECT
from tests.factories import TRAIN, VALIDATION, World

HOW = HowToRead(Kind.NUMERIC, validation=3, seed=1)
ROWS = 23
UPLOAD_AND_DIE = """
import sys
from app.ledger.data import staging
from tests.app.ledger.data.test_staging import upload
from tests.factories import World
from app.database import make_engine
from app.settings import Settings
staging.CHUNK = 5
url, project = sys.argv[1:]
upload(World(make_engine(url), Settings(database_url=url), project, "", "", ""))
"""


def content(rows: int = ROWS) -> bytes:
    return b"".join(b'{"question": "How much is %d?", "answer": "%d"}\n' % (n, n) for n in range(rows))


def upload(world: World, rows: int = ROWS, name: str = "sums") -> tuple[Dataset, bool]:
    received = Received(BytesIO(content(rows)), "", "", "")
    return upload_dataset(world.engine, world.project_id, name, received, None, HOW, world.settings)


def counts(world: World) -> tuple[int, int]:
    """Datasets and examples that there are besides the world's own."""
    with reading(world.engine) as session:
        datasets = session.scalar(select(func.count()).select_from(Dataset)) or 0
        examples = session.scalar(select(func.count()).select_from(Example)) or 0
    return datasets - 1, examples - TRAIN - VALIDATION


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staging, "CHUNK", 5)


def test_upload_in_many_chunks_holds_every_row_once_and_in_order(world: World) -> None:
    dataset, new = upload(world)
    assert (new, dataset.version, dataset.splits) == (True, 1, {"train": 20, "validation": 3})
    with reading(world.engine) as session:
        rows = list(
            session.scalars(select(Example).where(Example.dataset_id == dataset.id).order_by(Example.id))
        )
    assert [row.external_id for row in rows] == [f"row-{n + 1}" for n in range(ROWS)]
    for split, size in dataset.splits.items():
        assert [row.position for row in rows if row.split == split] == list(range(size))


def test_killed_upload_is_never_seen_and_leaves_nothing(world: World, tmp_path: Path) -> None:
    armed = {"STAR_FAILPOINTS": "upload.after_batch=kill@3", "STAR_FAILPOINTS_FIRED": str(tmp_path)}
    url = world.engine.url.render_as_string(hide_password=False)
    command = [sys.executable, "-c", UPLOAD_AND_DIE, url, world.project_id]
    died = subprocess.run(command, cwd=PROJECT, env={**os.environ, **armed}, capture_output=True)
    assert died.returncode == -signal.SIGKILL, died.stderr
    assert counts(world) == (1, 15)
    with reading(world.engine) as session:
        [half] = session.scalars(select(Dataset).where(Dataset.id != world.dataset_id))
        assert [d.id for d in list_datasets(session, world.project_id, after=None, limit=9)] == [
            world.dataset_id
        ]
        with pytest.raises(NotFound):
            get_dataset(session, world.project_id, half.id)
    assert remove_abandoned(world.engine) == 0  # for all that anybody knows, it is still coming in
    whole, new = upload(world)
    assert (new, whole.version) == (True, 1)
    expire(world, half.id)
    assert remove_abandoned(world.engine) == 1
    assert counts(world) == (1, ROWS)


def expire(world: World, dataset_id: str) -> None:
    with transaction(world.engine) as session:
        session.execute(update(Dataset).where(Dataset.id == dataset_id).values(staged_until=clock(-1)))


def checked(action: Callable[[], object]) -> CheckedFile:
    """Twelve rows; the action happens while the eleventh comes in."""

    def rows() -> Iterator[bytes]:
        for n in range(12):
            if n == 10:
                action()
            row = {
                "external_id": f"{n}",
                "question": "?",
                "answer": "1",
                "choices": None,
                "group": None,
                "context": None,
            }
            yield line_of({**row, "solution": None, "split": "train", "position": n})

    return CheckedFile(HOW, "1" * 64, 99, {"train": 12}, None, cast(BinaryIO, rows()))


def test_upload_that_was_taken_for_abandoned_stores_nothing_more(world: World) -> None:
    def abandon() -> None:
        with reading(world.engine) as session:
            [staged] = session.scalars(select(Dataset.id).where(Dataset.staged_until.is_not(None)))
        expire(world, staged)

    with pytest.raises(Unavailable, match="Upload it again"):
        store_dataset(world.engine, world.project_id, "slow", checked(abandon))
    assert counts(world) == (0, 0)


def test_same_upload_beside_this_one_leaves_one_dataset(world: World) -> None:
    others: list[tuple[Dataset, bool]] = []

    def overtake() -> None:
        others.append(store_dataset(world.engine, world.project_id, "fast", checked(lambda: None)))

    mine, new = store_dataset(world.engine, world.project_id, "slow", checked(overtake))
    [(other, other_is_new)] = others
    assert (new, other_is_new) == (False, True)
    assert mine.id == other.id
    assert counts(world) == (1, 12)


def test_datasets_of_one_name_are_numbered_and_other_names_count_for_themselves(world: World) -> None:
    versions = [
        upload(world, rows, name)[0].version for rows, name in ((5, "a"), (6, "a"), (7, "b"), (8, "a"))
    ]
    assert versions == [1, 2, 1, 3]
    with reading(world.engine) as session:
        found = list_datasets(session, world.project_id, name="a", after=None, limit=9)
    assert [(d.name, d.version) for d in found] == [("a", 3), ("a", 2), ("a", 1)]


def test_bad_upload_leaves_nothing_behind(world: World) -> None:
    received = Received(BytesIO(content() + b"{}\n"), "", "", "")
    with pytest.raises(Invalid):
        upload_dataset(world.engine, world.project_id, "bad", received, None, HOW, world.settings)
    assert counts(world) == (0, 0)
