"""The files of an adapter on their way into the storage."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from app.storage import Storage
from app.tables.base import JsonObject
from star_engine.adapters.layout import CARD, MANIFEST


def publish(storage: Storage, path: Path) -> JsonObject:
    """Store one file under its sha256; returns what to record of it."""
    size = path.stat().st_size
    return {"path": path.name, "size_bytes": size, "sha256": storage.put_file(path)}


def rewritten(
    storage: Storage, files: Sequence[JsonObject], folder: Path, rewrite: Callable[[], None]
) -> list[JsonObject]:
    """Card and manifest after `rewrite` has changed them in `folder`, stored; none where they are gone."""
    known = {entry["path"]: entry["sha256"] for entry in files}
    if not {CARD, MANIFEST} <= known.keys():
        return []
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name in (CARD, MANIFEST):
        storage.fetch(known[name], folder / name)
    rewrite()
    stored = [publish(storage, folder / name) for name in (CARD, MANIFEST)]
    shutil.rmtree(folder, ignore_errors=True)
    return stored
