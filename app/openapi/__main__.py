"""python -m app.openapi openapi.json [--breaking]: write the document, unless it would break clients."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from app.main import create_app
from app.openapi.breaking import breaking_changes


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m app.openapi")
    parser.add_argument("file", type=Path)
    parser.add_argument("--breaking", action="store_true", help="write it although clients would break")
    asked = parser.parse_args()
    made = create_app().openapi()
    if asked.file.exists() and not asked.breaking:
        changes = breaking_changes(json.loads(asked.file.read_text()), made)
        if changes:
            print("These would break clients:", *changes, sep="\n  ", file=sys.stderr)
            return 1
    asked.file.write_text(json.dumps(made, indent=1, ensure_ascii=False, sort_keys=True) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
