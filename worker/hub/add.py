"""A base model onto the allow-list: from a hub or a folder, checked, pinned, tried."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from app.ledger.data.base_models import ListedModel, context_length, hash_files
from app.settings import Settings
from worker.hub.allow_list import append, location_of, read_list
from worker.hub.fetch import Fetched, fetch
from worker.hub.model_files import Unusable, check_folder
from worker.hub.try_out import try_one_token


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be added. `model`: ORG/NAME[@REVISION] of a hub, or a folder."""

    model: str
    id: str | None = None
    into: Path | None = None  # where downloads go; None: STAR_HOME/models
    license: str | None = None
    context_length: int | None = None


@dataclass(frozen=True, slots=True)
class Added:
    entry: ListedModel
    folder: Path


def add(wanted: Wanted, settings: Settings, note: Callable[[str], None] = lambda _: None) -> Added:
    """Every check comes before the allow-list is written: an entry there is one that works.

    `note` is told what is done. Raises Unusable and BadModelsFile.
    """
    models_file = settings.models_file
    name, revision = _named(wanted.model)
    model_id = wanted.id or name
    if any(known.id == model_id for known in read_list(models_file)):
        raise Unusable(f"{models_file} lists {model_id} already. Give the new one another name with --id.")
    if (given := Path(wanted.model)).is_dir():
        found = Fetched(given, None, None)
    else:
        note("downloads")
        found = fetch(name, revision, wanted.into or downloads(settings))
    note("checks its files")
    check_folder(found.folder, wanted.model)
    context = wanted.context_length or context_length(model_id, found.folder)
    note("lets it write one token")
    try_one_token(found.folder, settings)
    try:
        entry = ListedModel(
            id=model_id,
            location=location_of(found.folder, models_file),
            revision=found.revision,
            repository=name if found.revision else None,
            files=hash_files(found.folder),
            context_length=context,
            license=wanted.license or found.license,
        )
    except ValidationError as problem:
        raise Unusable(f"{model_id!r} cannot be listed: {problem}") from problem
    append(models_file, entry)
    return Added(entry, found.folder)


def downloads(settings: Settings) -> Path:
    """Where models are downloaded to, unless somebody says otherwise."""
    return settings.models_into or settings.home / "models"


def listed_folder(model: str, settings: Settings) -> Path:
    """The folder of a model on the allow-list, or the one that is named. Raises Unusable."""
    for listed in read_list(settings.models_file):
        if listed.id == model:
            return settings.models_file.parent / listed.location
    if Path(model).is_dir():
        return Path(model)
    raise Unusable(f"{model} is on no line of {settings.models_file}, and no folder here.")


def _named(model: str) -> tuple[str, str | None]:
    """Name and revision; a folder has the name of its last part."""
    if Path(model).is_dir():
        return Path(model).resolve().name, None
    name, _, revision = model.partition("@")
    if name.count("/") != 1:
        raise Unusable(f"{model} is no folder here, and no ORG/NAME of a hub.")
    return name, revision or None
