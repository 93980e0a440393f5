"""Writes an entry at the end of the allow-list: what stands there, comments included, is left as it is."""

from __future__ import annotations

import os
from pathlib import Path

import yaml

from app.ledger.data.base_models import BadModelsFile, ListedModel, read_listed
from star_engine.adapters.layout import write_durably
from worker.hub.model_files import Unusable


def read_list(path: Path) -> list[ListedModel]:
    """The entries of the allow-list; none where there is no such file. Raises Unusable."""
    try:
        return read_listed(path) if path.exists() else []
    except BadModelsFile as problem:
        raise Unusable(f"Correct the allow-list first. {problem}") from problem


def append(path: Path, model: ListedModel) -> None:
    """Add the entry, in one step: a start that reads the file meanwhile sees all of it or nothing.

    Raises Unusable where the id is on the list, or the file is written in a way that nothing can follow.
    """
    if any(known.id == model.id for known in read_list(path)):
        raise Unusable(f"{path} lists {model.id} already. Give the new one another name with --id.")
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    entry = model.model_dump(exclude_defaults=True)
    after = f"{before.rstrip()}\n" if before.strip() else ""
    after += yaml.safe_dump([entry], sort_keys=False, allow_unicode=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(after, encoding="utf-8")
    try:
        if [known.id for known in read_listed(draft)][-1:] != [model.id]:
            raise BadModelsFile(f"{path}: the entry would not be its last one")
    except BadModelsFile as problem:
        raise Unusable(
            f"{path} is not a plain YAML list that can be added to at its end: write it with one `- id:` a "
            "model."
        ) from problem
    finally:
        draft.unlink()
    write_durably(path, after)


def location_of(folder: Path, models_file: Path) -> str:
    """How the allow-list names a folder: relative to its own where it lies below that; both can be moved."""
    folder, beside = folder.resolve(), models_file.resolve().parent
    return str(folder.relative_to(beside) if folder.is_relative_to(beside) else folder)
