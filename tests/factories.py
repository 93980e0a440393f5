"""A small world for tests of the ledger and the worker: a project with addition problems, ready for jobs."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, func, select

from app.database import make_engine, new_id, reading, transaction
from app.ledger.data.base_models import hash_files
from app.ledger.jobs.forks import ForkPoint
from app.ledger.jobs.jobs import NewJob, create_job
from app.ledger.quality.probes import as_probe
from app.settings import Settings
from app.storage import Storage
from app.tables.data import Dataset, Example, Model, PromptSet
from app.tables.jobs import Job, Step
from app.tables.platform import ApiKey, Project
from app.tables.rationales import Rationale
from star_engine.config.star import StarConfig
from star_engine.data.selection import chance
from star_engine.tasks.kind import Kind
from star_engine.testing.fakes import addition_scratchpad
from worker.context import WorkerContext

SCRIPT = "tests.factories:pupil"
TRAIN, VALIDATION = 16, 8  # examples
MODEL = "pupil"


def pupil() -> Any:
    """The scripted sampler of the GPU process: right on 1 digit, learns the digit counts it is trained on."""
    from star_engine.testing.fakes import addition_pupil

    return addition_pupil()


def slow_pupil() -> Any:
    """The same, at ten answers a second."""
    answer = pupil()

    def slowly(request: Any, adapter: Any) -> str:
        time.sleep(0.1)
        return str(answer(request, adapter))

    return slowly


def problem(number: int, digits: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Two numbers of `digits` digits; different for every number, the same every time."""
    low, high = 10 ** (digits - 1), 10**digits
    a, b = (low + int(chance(number, digits, side, "") * (high - low)) for side in ("a", "b"))
    return tuple(map(int, str(a))), tuple(map(int, str(b)))


def spaced(digits: Any) -> str:
    return " ".join(str(digit) for digit in digits)


def total(a: tuple[int, ...], b: tuple[int, ...]) -> str:
    one, other = int("".join(map(str, a))), int("".join(map(str, b)))
    return spaced(str(one + other))


@dataclass(frozen=True)
class World:
    engine: Engine
    settings: Settings
    project_id: str
    key_id: str
    dataset_id: str
    prompt_set_id: str

    def submit(self, **changes: Any) -> str:
        """Create a job with these changes to a two-iteration configuration; returns its id."""
        fork: ForkPoint | None = changes.pop("fork", None)
        beside: dict[str, Any] = changes.pop("beside", {})  # preset to its changes
        probe: int | None = changes.pop("probe", None)  # questions of a probe that it is instead
        config = StarConfig.model_validate({**CONFIG, **changes})
        with transaction(self.engine) as session:
            new = NewJob(
                name="test",
                config=config,
                model=session.get_one(Model, MODEL),
                dataset=session.get_one(Dataset, self.dataset_id),
                prompt_set=session.get_one(PromptSet, self.prompt_set_id),
                priority=0,
                labels={},
                fork=fork,
            )
            new = replace(new, beside=tuple(_beside(new, preset, **beside[preset]) for preset in beside))
            new = new if probe is None else as_probe(new, probe)
            return create_job(session, self.project_id, self.key_id, new, self.settings).id

    def load_model(self, folder: Path, context_length: int) -> None:
        """Jobs run on this model from now on; the world's settings have to name a sampler that reads it."""
        with transaction(self.engine) as session:
            model = session.get_one(Model, MODEL)
            model.location, model.files = str(folder), hash_files(folder)
            model.context_length = context_length

    def job(self, job_id: str) -> Job:
        with reading(self.engine) as session:
            return session.scalars(select(Job).where(Job.id == job_id)).one()

    def step_count(self, job_id: str) -> int:
        with reading(self.engine) as session:
            return session.scalar(select(func.count()).where(Step.job_id == job_id)) or 0

    def tries(self) -> int:
        """Rationales on record, of all jobs."""
        with reading(self.engine) as session:
            return session.scalar(select(func.count()).select_from(Rationale)) or 0

    def worker_context(self, name: str = "worker:1") -> WorkerContext:
        return WorkerContext(
            engine=self.engine,
            storage=Storage(self.settings.resolved_storage_url()),
            settings=self.settings,
            worker_id=name,
            draining=lambda: False,
        )


def _beside(new: NewJob, preset: str, **changes: Any) -> NewJob:
    config = StarConfig.model_validate({**new.config.model_dump(mode="json"), **changes})
    return replace(new, config=config, preset=preset)


CONFIG: dict[str, Any] = {
    "kind": "scratchpad",
    "iterations": 2,
    "generation": {"max_tokens": 400},
    "training": {"schedule": {"kind": "linear", "start": 3, "add": 1}, "batch_size": 4},
}


def make_world(database_url: str, home: Path, **settings: Any) -> World:
    """A project with TRAIN and VALIDATION examples of 1 and 2 digits, a prompt set and a scripted model."""
    chosen = Settings(
        home=home,
        database_url=database_url,
        **{"sampler": "scripted", "sampler_script": SCRIPT, "shard_examples": 6, **settings},
    )
    engine = make_engine(database_url)
    ids = {name: new_id(name) for name in ("proj", "key", "ds", "ps")}
    base_model = home / "model"
    base_model.mkdir(parents=True, exist_ok=True)
    with transaction(engine) as session:
        session.add(Project(id=ids["proj"], name="test"))
        session.flush()
        session.add(
            ApiKey(
                id=ids["key"], project_id=ids["proj"], name="test", secret_sha256="0" * 64, scopes=["admin"]
            )
        )
        session.add(Model(id=MODEL, location=str(base_model), files={}, context_length=4096))
        session.add(_prompt_set(ids))
        session.add(
            Dataset(
                id=ids["ds"],
                project_id=ids["proj"],
                name="addition",
                kind=Kind.SCRATCHPAD.value,
                sha256="0" * 64,
                size_bytes=0,
                splits={"train": TRAIN, "validation": VALIDATION},
            )
        )
        session.flush()
        session.add_all(_examples(ids["ds"]))
    return World(engine, chosen, ids["proj"], ids["key"], ids["ds"], ids["ps"])


def _examples(dataset_id: str) -> list[Example]:
    rows = []
    for number in range(TRAIN + VALIDATION):
        split, position = ("train", number) if number < TRAIN else ("validation", number - TRAIN)
        a, b = problem(number, 1 + number % 2)
        rows.append(
            Example(
                dataset_id=dataset_id,
                split=split,
                position=position,
                external_id=f"e{number}",
                question=f"{spaced(a)} + {spaced(b)}",
                answer=total(a, b),
                group=str(len(a)),
            )
        )
    return rows


def _prompt_set(ids: dict[str, str]) -> PromptSet:
    shown = [problem(100 + number, 1 + number % 2) for number in range(4)]
    examples = [
        {
            "question": f"{spaced(a)} + {spaced(b)}",
            "rationale": addition_scratchpad(a, b),
            "answer": total(a, b),
            "choices": None,
            "group": str(len(a)),
        }
        for a, b in shown
    ]
    return PromptSet(
        id=ids["ps"],
        project_id=ids["proj"],
        name="few-shot",
        kind="scratchpad",
        examples=examples,
        sha256="0" * 64,
    )
