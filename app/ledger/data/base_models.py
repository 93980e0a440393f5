"""The allow-list of base models: read from a file at every start, its weights pinned by their SHA-256."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from sqlalchemy import Engine, exists, select
from sqlalchemy.orm import Session

from app.database import transaction
from app.errors import NotFound
from app.file_hashes import FileHashes
from app.ledger.data.model_memory import why_too_large
from app.settings import GPU_CLASS
from app.tables.data import Model
from app.tables.jobs import Job
from star_engine.adapters.supported import why_unsupported
from star_engine.adapters.twins import why_no_twins

# Tokens, unless an entry states more: one sequence of 131,072 takes 16 GiB on a GPU that runs an 8B model,
# and vLLM does not start where one sequence does not fit.
LONGEST_CONTEXT = 32_768
_CONTEXT_KEYS = ("max_position_embeddings", "n_positions", "max_sequence_length")  # of a config.json


class BadModelsFile(RuntimeError):
    """The allow-list cannot be used; the message says what to change in it."""


class Requires(BaseModel):
    """What a worker needs to claim steps of a model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    gpus: int = Field(default=1, ge=1)  # vLLM's tensor_parallel_size
    gpu_memory_gib: float | None = Field(default=None, gt=0)  # of each GPU, at least
    gpu_class: str | None = Field(default=None, pattern=GPU_CLASS)


class ListedModel(BaseModel):
    """One entry of the allow-list."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,199}$")
    location: str = Field(min_length=1)  # a folder, relative to the allow-list's own, or a hub id
    revision: str | None = Field(default=None, pattern=r"^[0-9a-f]{40}$")  # the commit of a hub's repository
    # ORG/NAME of the hub that a folder's files came from, at this revision; adapters name it as their base.
    repository: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*$")
    # Name to SHA-256: needed for a hub id; of a folder, which is then refused where a file is another one.
    files: dict[str, Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]] = {}
    context_length: int | None = Field(default=None, ge=1)
    license: str | None = None
    base: bool = False  # pretrained only: a chat template that comes with it is not what it was trained on
    # Of a quantized model, which is sampled alone: the entry of its version in bfloat16, which is trained.
    trained_as: str | None = None
    requires: Requires = Requires()


@dataclass(frozen=True, slots=True)
class FoundModel:
    """An allow-list entry and what was found at its location."""

    listed: ListedModel
    location: str
    files: dict[str, str]
    context_length: int
    repository: str | None  # of a hub; None: nobody but the operator has these files


def register_models(engine: Engine, path: Path, hashes_in: Path | None = None) -> frozenset[str]:
    """Bring the models table in line with the allow-list and return the ids on it. Raises BadModelsFile.

    hashes_in: the file that keeps the hashes of the models' files until the next start.
    """
    hashes = FileHashes(hashes_in)
    found = [_inspect(listed, path.parent, hashes) for listed in read_listed(path)]
    _check_found({model.listed.id: model for model in found})
    hashes.keep()
    with transaction(engine) as session:
        for model in found:
            _register(session, model)
    return frozenset(model.listed.id for model in found)


def hash_files(folder: Path, hashes: FileHashes | None = None) -> dict[str, str]:
    """Every file of a model's folder, hidden ones aside: its name (with /) to its SHA-256."""
    names = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    shown = [name for name in names if not any(part.startswith(".") for part in name.parts)]
    hashes = hashes or FileHashes()
    return {name.as_posix(): hashes.sha256(folder / name) for name in shown}


def why_unreadable(folder: Path) -> str | None:
    """Why this process cannot read a model's files, with the command that lets it; None where it can."""
    shut: list[str] = []

    def note(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError | NotADirectoryError):  # no folder: not for us to say
            shut.append(str(error.filename))

    for place, _, names in os.walk(folder, onerror=note):
        paths = [os.path.join(place, name) for name in names]  # noqa: PTH118 - what walk yields
        shut += [path for path in paths if not os.access(path, os.R_OK)]
    if not shut:
        return None
    return (
        f"user {os.getuid()} cannot read {len(shut)} of its files or folders, such as {min(shut)}. "
        f"Run `chmod -R a+rX` on the folder that lies at {folder} here."
    )


def get_model(session: Session, model_id: str, offered: frozenset[str]) -> Model:
    """A model of the allow-list; else NotFound, also if it was on an earlier one."""
    model = session.get(Model, model_id) if model_id in offered else None
    if model is None:
        raise NotFound(f"There is no model {model_id!r}.")
    return model


def list_models(
    session: Session, offered: frozenset[str], *, after: str | None, limit: int
) -> Sequence[Model]:
    """List base models by id; `after` is the last id of the page before."""
    query = select(Model).where(Model.id.in_(offered)).order_by(Model.id).limit(limit)
    if after is not None:
        query = query.where(Model.id > after)
    return session.scalars(query).all()


def read_listed(path: Path) -> list[ListedModel]:
    """The entries of an allow-list. Raises BadModelsFile."""
    try:
        listed = TypeAdapter(list[ListedModel]).validate_python(yaml.safe_load(path.read_text()) or [])
    except (OSError, yaml.YAMLError, ValidationError) as problem:
        raise BadModelsFile(f"{path}: {problem}") from problem
    ids = [model.id for model in listed]
    twice = sorted({name for name in ids if ids.count(name) > 1})
    if twice:
        raise BadModelsFile(f"{path}: listed twice: {', '.join(twice)}")
    return listed


def _inspect(listed: ListedModel, beside: Path, hashes: FileHashes) -> FoundModel:
    folder = (beside / listed.location).resolve()
    if (reason := why_unreadable(folder)) is not None:
        raise BadModelsFile(f"model {listed.id}: {reason}")
    if folder.is_dir():
        if (reason := why_unsupported(_config(folder), listed.trained_as is not None)) is not None:
            raise BadModelsFile(f"model {listed.id}: {reason}")
        context = listed.context_length or context_length(listed.id, folder)
        files = hash_files(folder, hashes)
        _check_pins(listed, files)
        return FoundModel(listed, str(folder), files, context, listed.repository)
    if listed.revision is None or listed.context_length is None or not listed.files:
        raise BadModelsFile(
            f"model {listed.id}: there is no folder {folder}. If {listed.location!r} is a hub id, give its "
            "`revision` (the commit), `files` (name to SHA-256) and `context_length` too."
        )
    repository = listed.repository or listed.location
    return FoundModel(listed, listed.location, dict(listed.files), listed.context_length, repository)


def _check_found(found: Mapping[str, FoundModel]) -> None:
    """What is trained in the place of another must be that model, and fit where its jobs run."""
    for model in found.values():
        sampled = trained = Path(model.location)
        if model.listed.trained_as is not None:
            trained = _twin_of(model, found.get(model.listed.trained_as))
        if trained.is_dir():
            _refuse_too_large(model.listed, sampled, trained)


def _twin_of(model: FoundModel, named: FoundModel | None) -> Path:
    """The folder of what is trained in its place. Raises BadModelsFile."""
    name, sampled = model.listed.id, Path(model.location)
    if named is None or named.listed.trained_as is not None:
        raise BadModelsFile(
            f"model {name}: `trained_as` names {model.listed.trained_as!r}, which is no entry that is "
            "trained itself: list the version in bfloat16 too, without `trained_as`."
        )
    trained = Path(named.location)
    if not (sampled.is_dir() and trained.is_dir()):
        raise BadModelsFile(
            f"model {name}: whether it is {named.listed.id} is told from their files: both must be folders "
            "on this machine (`star models add` fetches them)."
        )
    if (reason := _not_twins(sampled, trained)) is not None:
        raise BadModelsFile(f"model {name}: {reason}")
    return trained


def _not_twins(sampled: Path, trained: Path) -> str | None:
    try:
        return why_no_twins(sampled, trained)
    except (OSError, ValueError, KeyError) as problem:
        return f"its files cannot be compared with those of {trained.name}: {problem!r}"


def _refuse_too_large(listed: ListedModel, sampled: Path, trained: Path) -> None:
    """Where an entry says on how much memory its jobs run, the model has to be trainable there."""
    if (memory := listed.requires.gpu_memory_gib) is None:
        return
    try:
        reason = why_too_large(listed.requires.gpus, memory, sampled, trained)
    except (OSError, ValueError, KeyError) as problem:
        raise BadModelsFile(f"model {listed.id}: its weights cannot be read: {problem!r}") from problem
    if reason is not None:
        raise BadModelsFile(f"model {listed.id}: {reason}")


def _check_pins(listed: ListedModel, files: dict[str, str]) -> None:
    """What the allow-list pins of a folder's files must be what is there, no file more and none less."""
    if changed := sorted({name for name, _ in listed.files.items() ^ files.items()} if listed.files else ()):
        raise BadModelsFile(
            f"model {listed.id}: the folder's files are not those that its entry pins (different: "
            f"{', '.join(changed)}). Restore them, or add the model again under a new id."
        )


def context_length(model_id: str, folder: Path) -> int:
    """Tokens that the model of a folder was made for, at most LONGEST_CONTEXT.

    Raises BadModelsFile where config.json does not say.
    """
    values = _config(folder)
    for key in _CONTEXT_KEYS:
        if isinstance(values.get(key), int):
            return min(int(values[key]), LONGEST_CONTEXT)
    raise BadModelsFile(
        f"model {model_id}: {folder / 'config.json'} does not tell the context length: give `context_length`."
    )


def _config(folder: Path) -> dict[str, Any]:
    config = folder / "config.json"
    return json.loads(config.read_text()) if config.is_file() else {}


def _register(session: Session, found: FoundModel) -> None:
    model = session.get(Model, found.listed.id)
    if model is None:
        model = Model(id=found.listed.id)
        session.add(model)
    elif _pinned(model) != (found.listed.revision, found.files) and _in_use(session, model.id):
        changed = sorted({name for name, _ in model.files.items() ^ found.files.items()}) or ["revision"]
        raise BadModelsFile(
            f"model {model.id} is not what its jobs were run with (different: {', '.join(changed)}). "
            "Restore it, or list the new files under a new id."
        )
    model.location = found.location
    model.revision = found.listed.revision
    model.repository = found.repository
    model.files = found.files
    model.context_length = found.context_length
    model.license = found.listed.license
    model.is_base = found.listed.base
    model.trained_as = found.listed.trained_as
    for name, value in found.listed.requires:
        setattr(model, name, value)
    session.flush()


def _pinned(model: Model) -> tuple[str | None, dict[str, str]]:
    return model.revision, model.files


def _in_use(session: Session, model_id: str) -> bool:
    return bool(session.scalar(select(exists().where(Job.model_id == model_id))))
