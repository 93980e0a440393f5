from __future__ import annotations

from pathlib import Path

import pytest

from tests.star_engine.chat.families import FAMILIES, write_model


@pytest.fixture(scope="session")
def miniatures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A folder with the tokenizer files of each family."""
    root = tmp_path_factory.mktemp("miniatures")
    return {family.name: write_model(family, root / family.name) for family in FAMILIES}
