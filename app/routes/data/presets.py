"""Presets: named settings to start from."""

from __future__ import annotations

import inspect
from typing import Literal

from pydantic import Field

from app.http.auth import Reader
from app.http.router import api_router
from app.http.schemas import Item, JsonObject, Page, page
from star_engine.config.presets import presets_of
from star_engine.tasks.kind import Kind

router = api_router("presets", "/v1/presets")


class PresetOut(Item):
    """A preset, with all settings of a job that uses it and changes nothing."""

    object: Literal["preset"] = "preset"
    description: str = Field(description="Where its settings come from.")
    kind: Kind = Field(description="Kind of question that `config` is for.")
    config: JsonObject


@router.get("", summary="List the presets")
def list_(caller: Reader, kind: Kind) -> Page[PresetOut]:
    """Every preset with its settings for one kind of question. docs/settings.md describes each setting."""
    found = [
        PresetOut(
            id=name,
            description=inspect.getdoc(make) or "",
            kind=kind,
            config=make(kind).model_dump(mode="json"),
        )
        for name, make in presets_of(kind).items()
    ]
    return page(found, len(found))
