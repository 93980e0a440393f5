"""What is said of the settings: docs/settings.md, the schema of a request's config, the nearest name."""

from __future__ import annotations

from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from star_engine.config.presets import PRESETS
from star_engine.config.reference import markdown, nearest, overrides, settings
from star_engine.tasks.kind import Kind

PROJECT = Path(__file__).parents[3]
SCHEMA = Draft202012Validator(overrides().model_json_schema())


def test_every_setting_is_described() -> None:
    assert [one.path for one in settings() if not one.description] == []


def test_the_page_of_settings_is_the_one_that_the_code_writes() -> None:
    written = (PROJECT / "docs" / "settings.md").read_text(encoding="utf-8")
    assert written == markdown(), "run `make settings`"


@pytest.mark.parametrize("preset", PRESETS)
def test_a_whole_config_fits_the_schema_of_overrides(preset: str) -> None:
    config = PRESETS[preset](Kind.CHOICE).model_dump(mode="json")
    assert [error.message for error in SCHEMA.iter_errors(config)] == []


@pytest.mark.parametrize(
    ("config", "fits"),
    [
        ({}, True),
        ({"generation": {"temperature": 0.7}, "training": {"schedule": {"start": 3}}}, True),
        ({"generation": {"temperature": 7}}, False),
        ({"generation": {"temprature": 0.7}}, False),
        ({"iterations": "three"}, False),
    ],
)
def test_the_schema_of_overrides_takes_any_part_of_a_config_and_refuses_others(
    config: dict[str, object], fits: bool
) -> None:
    assert SCHEMA.is_valid(config) is fits


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        ("generation.temprature", "generation.temperature"),
        ("temperature", "generation.temperature"),
        ("training.lora_rank", None),
        ("training.rank", "training.lora.rank"),
        ("iteration", "iterations"),
        ("colour", None),
    ],
)
def test_the_nearest_setting_is_in_the_same_section_or_of_the_same_name(path: str, meant: str | None) -> None:
    assert nearest(path) == meant
