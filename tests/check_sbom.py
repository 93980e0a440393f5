"""Checks a software bill of materials: CycloneDX, everything pinned, no dependency of the project missing.

python -m tests.check_sbom dist/sbom.cdx.json pyproject.toml
"""

from __future__ import annotations

import json
import re
import sys
import tomllib
from pathlib import Path
from typing import Any


def faults(bom: dict[str, Any], project: dict[str, Any]) -> list[str]:
    """What is wrong with it, in sentences; nothing where it is right."""
    found = []
    if bom.get("bomFormat") != "CycloneDX":
        found.append("It is not in the format CycloneDX.")
    components = {_name(one["name"]): one for one in bom.get("components", [])}
    for name, one in components.items():
        if not one.get("version") or not str(one.get("purl", "")).startswith("pkg:pypi/"):
            found.append(f"{name} has no version or no package URL.")
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *extras["worker"], *extras.get("otel", ())]
    for requirement in wanted:
        name, _, version = requirement.partition(";")[0].partition("==")
        listed = components.get(_name(name), {}).get("version")
        if listed != version.strip():
            found.append(f"{requirement} is not in it: it lists {listed}.")
    return found


def _name(text: str) -> str:
    return re.sub(r"[-_.]+", "-", text.partition("[")[0].strip()).lower()


def main() -> None:
    bom, project = Path(sys.argv[1]), tomllib.loads(Path(sys.argv[2]).read_text())["project"]
    listed = json.loads(bom.read_text())
    if wrong := faults(listed, project):
        sys.exit("\n".join(wrong))
    sys.stdout.write(f"{bom}: {len(listed['components'])} components, all pinned.\n")


if __name__ == "__main__":
    main()
