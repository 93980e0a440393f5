"""Writes a merged model to standard output, for a process that passes it on.

    python -m star_engine.gpu.export safetensors --base FOLDER --adapter FOLDER --name NAME

The first line is JSON: {"name", "size_bytes"}, behind which so many bytes follow, or {"refused": "..."}.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from star_engine.gpu.export.merged import merged_archive
from star_engine.gpu.export.parts import CannotExport, Part
from star_engine.protocols import BadAdapter


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m star_engine.gpu.export", description=__doc__)
    parser.add_argument("form", choices=["safetensors", "gguf"])
    parser.add_argument("--base", type=Path, required=True, help="the base model's folder")
    parser.add_argument("--adapter", type=Path, required=True, help="the adapter's folder")
    parser.add_argument("--name", required=True, help="of the file, without its ending")
    chosen = parser.parse_args()
    out = sys.stdout.buffer
    try:
        part = _part(chosen.form, chosen.base, chosen.adapter, chosen.name)
    except (BadAdapter, CannotExport) as refused:
        out.write(json.dumps({"refused": str(refused)}).encode() + b"\n")
        return 1
    out.write(json.dumps({"name": part.name, "size_bytes": part.size_bytes}).encode() + b"\n")
    for chunk in part.chunks():
        out.write(chunk)
    out.flush()
    return 0


def _part(form: str, base: Path, adapter: Path, name: str) -> Part:
    if form == "safetensors":
        return merged_archive(base, adapter, f"{name}.tar")
    from star_engine.gpu.export.gguf_model import gguf_file

    return gguf_file(base, adapter, f"{name}.gguf")


if __name__ == "__main__":
    sys.exit(main())
