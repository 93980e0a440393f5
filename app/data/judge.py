"""The engine's command `judge`, with programs executed by a sandbox: `python -m app.data.judge URL`."""

from __future__ import annotations

import runpy
import sys

from app.sandbox import use_service

if __name__ == "__main__":
    use_service(sys.argv[1])
    sys.argv[1:] = ["judge", "-"]
    # Not imported: the engine's command can load models too, which this package never does.
    runpy.run_module("star_engine", run_name="__main__")
