"""PEFT finds the base model of a downloaded adapter by what its config names, on a hub or in a folder."""

from __future__ import annotations

import json
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from peft import AutoPeftModelForCausalLM, LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from star_client.adapters import name_base
from star_client.errors import OtherBase
from star_engine.adapters.layout import BaseModel, rewrite_config
from tests.databases import PROJECT
from tests.hub_server import Repository, running_hub

TINY = PROJECT / "examples" / "carry" / "model"
IDS = torch.tensor([[5, 6, 7, 8]])


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Repository]:
    with running_hub() as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.url + "/{repo_id}/resolve/{revision}/{filename}"
        )
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        found = Repository({path.name: path.read_bytes() for path in TINY.iterdir()})
        hub.repositories["acme/tiny-1b"] = found
        yield found


@pytest.fixture
def adapter(tmp_path: Path) -> tuple[Path, torch.Tensor]:
    """A folder with an adapter, and the logits of the base model with it."""
    torch.manual_seed(0)
    model = get_peft_model(
        AutoModelForCausalLM.from_pretrained(TINY),
        LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False, task_type="CAUSAL_LM"),
    )
    model.save_pretrained(tmp_path / "adapter")
    return tmp_path / "adapter", logits(model.eval())


def logits(model: torch.nn.Module) -> torch.Tensor:
    with torch.inference_mode():
        found: torch.Tensor = model(IDS).logits
    return found


def test_adapter_of_a_hubs_model_loads_alone(hub: Repository, adapter: tuple[Path, torch.Tensor]) -> None:
    folder, expected = adapter
    rewrite_config(folder, BaseModel("acme/tiny-1b", hub.commit))
    torch.testing.assert_close(logits(AutoPeftModelForCausalLM.from_pretrained(folder)), expected)


def test_adapter_of_a_folders_model_loads_alone_where_the_folder_was_named(
    adapter: tuple[Path, torch.Tensor],
) -> None:
    folder, expected = adapter
    rewrite_config(folder, BaseModel("addition-tiny"))
    files = {path.name: sha256(path.read_bytes()).hexdigest() for path in TINY.iterdir()}
    (folder / "manifest.json").write_text(json.dumps({"base_model": {"files": files}}))
    name_base(folder, TINY)
    torch.testing.assert_close(logits(AutoPeftModelForCausalLM.from_pretrained(folder)), expected)


def test_folder_of_another_model_is_refused(adapter: tuple[Path, torch.Tensor], tmp_path: Path) -> None:
    folder, _ = adapter
    (folder / "manifest.json").write_text(json.dumps({"base_model": {"files": {"config.json": "0" * 64}}}))
    before = (folder / "adapter_config.json").read_bytes()
    with pytest.raises(OtherBase, match="sha256 differs"):
        name_base(folder, TINY)
    with pytest.raises(OtherBase, match=r"has no config\.json"):
        name_base(folder, tmp_path)
    assert (folder / "adapter_config.json").read_bytes() == before
