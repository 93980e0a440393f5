"""Paths of the settings as the person means them who runs `star serve`: relative to their own folder.

The parts of the platform are started elsewhere, where their code is.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import make_url

from app.settings import Settings

ROOT = Path(__file__).resolve().parents[2]  # of a checkout, or the site-packages of the wheel
DEMO_MODELS = ROOT / "examples" / "models.yaml"


def absolute_paths(settings: Settings) -> dict[str, str]:
    """The STAR_* variables of all settings that are paths, made absolute. URLs stay as they are."""
    found = {"STAR_HOME": str(settings.home.absolute()), "STAR_MODELS_FILE": str(models_file(settings))}
    if settings.models_into is not None:
        found["STAR_MODELS_INTO"] = str(settings.models_into.absolute())
    database = settings.database_url
    if database and (made := _absolute_database(database)) != database:
        found["STAR_DATABASE_URL"] = made
    if settings.storage_url and "://" not in settings.storage_url:
        found["STAR_STORAGE_URL"] = str(Path(settings.storage_url).absolute())
    return found


def _absolute_database(text: str) -> str:
    url = make_url(text)
    path = url.database or ""
    if url.get_backend_name() != "sqlite" or path in ("", ":memory:") or path.startswith("file:"):
        return text
    return url.set(database=str(Path(path).absolute())).render_as_string(hide_password=False)


def models_file(settings: Settings) -> Path:
    """The allow-list: the one that is set or lies in this folder, else the demo's with its tiny model."""
    path = settings.models_file.absolute()
    return path if "models_file" in settings.model_fields_set or path.exists() else DEMO_MODELS
