"""PEFT as this project imports it: without bitsandbytes, which it would import wherever that is installed.

That takes 7 s of CPU in every process, and on some CPUs asks a hub for code. Layers in 4 bits are plain ones
to PEFT (training/four_bits.py).
"""

from __future__ import annotations

import sys
from typing import Any

_modules: dict[str, Any] = sys.modules
_found = "bitsandbytes" in _modules
_before = _modules.get("bitsandbytes")
_modules["bitsandbytes"] = None  # nothing finds it now

import peft  # noqa: E402
from peft import import_utils as _asked  # noqa: E402
from peft.tuners.lora import LoraLayer  # noqa: E402

_asked.is_bnb_available()  # PEFT remembers the answers
_asked.is_bnb_4bit_available()
del _modules["bitsandbytes"]
if _found:
    _modules["bitsandbytes"] = _before

__all__ = ["LoraLayer", "peft"]
