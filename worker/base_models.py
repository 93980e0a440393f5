"""Base models on this machine: a folder or a pinned hub revision, checked against the allow-list's hashes."""

from __future__ import annotations

from pathlib import Path

from app.file_hashes import FileHashes
from app.tables.data import Model


class BadModel(RuntimeError):
    """The files of a base model are not those of the allow-list."""


class BaseModels:
    """Finds base models and checks each once per process: what has not changed since it was hashed before, by
    whichever process, is not read again (0.5 GB take 0.4 s, 64 GB most of a minute).
    """

    def __init__(self, hashes: FileHashes | None = None) -> None:
        self._hashes = hashes or FileHashes()
        self._checked: dict[tuple[str, str | None], Path] = {}

    def find(self, model: Model) -> Path:
        """The model's folder. Raises BadModel if a file is missing or is not the one that was allowed."""
        key = (model.location, model.revision)
        if key not in self._checked:
            folder = _folder(model)
            _check_files(model, folder, self._hashes)
            self._hashes.keep()
            self._checked[key] = folder
        return self._checked[key]


def _folder(model: Model) -> Path:
    folder = Path(model.location)
    if folder.is_dir():
        return folder
    if model.revision is None:
        raise BadModel(f"{model.id}: {model.location} is no folder here, and a hub model needs a revision.")
    from huggingface_hub import snapshot_download  # only workers have it, and only hub models need it

    return Path(
        snapshot_download(model.location, revision=model.revision, allow_patterns=sorted(model.files))
    )


def _check_files(model: Model, folder: Path, hashes: FileHashes) -> None:
    for name, expected in sorted(model.files.items()):
        path = folder / name
        if not path.is_file():
            raise BadModel(f"{model.id}: {name} is missing in {folder}.")
        if hashes.sha256(path) != expected:
            raise BadModel(f"{model.id}: {name} is not the file of the allow-list (its sha256 differs).")
