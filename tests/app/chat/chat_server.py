"""The application with one chat model: tokenizer files of a published family, answers of a script."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import yaml

from tests.app.api_harness import MODEL, Api, serve
from tests.star_engine.chat.families import FAMILIES, write_model


def serve_chat(
    database_url: str,
    home: Path,
    family: str = "qwen3",
    script: str = "tests.chat_pupil:pupil",
    **listed: Any,
) -> AbstractContextManager[Api]:
    """`listed`: of its entry in the allow-list."""
    chosen = next(one for one in FAMILIES if one.name == family)
    write_model(chosen, home / "chat")
    (home / "chat" / "model.safetensors").write_bytes(b"weights")
    models = home / "chat-models.yaml"
    entry = {"id": MODEL, "location": "chat", "context_length": 4000, **listed}
    models.write_text(yaml.safe_dump([entry]))
    return serve(database_url, home, models_file=models, sampler="scripted", sampler_script=script)
