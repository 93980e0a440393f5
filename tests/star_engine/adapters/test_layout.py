import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from star_engine.adapters.layout import (
    CONFIG,
    EXAMPLE,
    MANIFEST,
    WEIGHTS,
    AdapterVerification,
    BaseModel,
    TextsDiffer,
    check_layout,
    check_weights,
    file_sha256,
    judge_adapter,
    rewrite_config,
    write_manifest,
)
from star_engine.adapters.model_card import write_card
from star_engine.config.star import StarConfig
from star_engine.protocols import AdapterProbe, BadAdapter
from star_engine.tasks.kind import Kind
from star_engine.testing.fakes import make_adapter_bytes, write_adapter
from star_engine.training_set.rows import Coverage

PROMPT = "Q: What does ```x``` hold?\nA:"
BASE = BaseModel("HuggingFaceTB/SmolLM2-135M-Instruct", "12fd25f")
PROBE = AdapterProbe(("abcd", "efgh"), ("abxx", "efxx"), True, 1.5, 0.2)
VERIFIED = AdapterVerification(1.5, 0.2, 2, 1.0, 2)


def publish(directory: Path) -> None:
    directory.mkdir(exist_ok=True)
    write_adapter(directory)
    rewrite_config(directory, BASE)
    config = StarConfig(kind=Kind.NUMERIC)
    write_card(directory, BASE, config, 3, Coverage(10, 6, 2), "ab12", "apache-2.0", PROMPT)
    (directory / EXAMPLE).write_text(PROMPT)
    write_manifest(directory, {"iteration": 3}, VERIFIED)


def test_a_published_adapter_holds_five_files_that_match_its_manifest(tmp_path: Path) -> None:
    publish(tmp_path)
    check_layout(tmp_path)
    manifest = json.loads((tmp_path / MANIFEST).read_text())
    assert manifest["files"][WEIGHTS]["sha256"] == file_sha256(tmp_path / WEIGHTS)
    assert manifest["verification"]["max_logit_delta"] == 0.2
    assert manifest["iteration"] == 3
    card = (tmp_path / "README.md").read_text()
    assert card.startswith("---\nbase_model: HuggingFaceTB/SmolLM2-135M-Instruct\n")
    assert "license: apache-2.0" in card
    assert f"````text\n{PROMPT}\n````\n" in card, "a prompt's own marks do not end its block"
    assert "6 generated and 2 rationalized of 10 examples (80.0%)" in card


def _swap_weights(directory: Path) -> None:
    (directory / WEIGHTS).write_bytes(make_adapter_bytes(value=5.0))


def _add_file(directory: Path) -> None:
    (directory / "optimizer.pt").write_bytes(b"x")


def _remove_card(directory: Path) -> None:
    (directory / "README.md").unlink()


@pytest.mark.parametrize(
    ("damage", "reason"),
    [(_swap_weights, "sha256"), (_add_file, "optimizer.pt"), (_remove_card, "lacks .'README.md'")],
)
def test_a_changed_folder_is_refused(damage: Callable[[Path], None], reason: str, tmp_path: Path) -> None:
    publish(tmp_path)
    damage(tmp_path)
    with pytest.raises(BadAdapter, match=reason):
        check_layout(tmp_path)


def test_the_config_is_written_from_an_allow_list(tmp_path: Path) -> None:
    write_adapter(tmp_path)
    path = tmp_path / CONFIG
    given = json.loads(path.read_text()) | {
        "base_model_name_or_path": "/home/someone/models/base",
        "auto_mapping": {"base_model_class": "evil.Module"},
        "target_modules": ["v_proj", "q_proj"],
        "inference_mode": False,
    }
    path.write_text(json.dumps(given))
    rewrite_config(tmp_path, BASE)
    written = json.loads(path.read_text())
    assert "auto_mapping" not in written
    assert "/home" not in path.read_text()
    assert (written["base_model_name_or_path"], written["revision"]) == (BASE.name, BASE.revision)
    assert written["target_modules"] == ["q_proj", "v_proj"]
    assert written["inference_mode"] is True
    assert written["r"] == 2


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"peft_type": "IA3"}, "not a LoRA"),
        ({"bias": "all"}, "plain LoRA"),
        ({"use_dora": True}, "plain LoRA"),
        ({"modules_to_save": ["lm_head"]}, "plain LoRA"),
        ({"r": None}, "lacks r"),
    ],
)
def test_a_config_that_is_not_plain_lora_is_refused(
    change: dict[str, object], reason: str, tmp_path: Path
) -> None:
    write_adapter(tmp_path)
    given = json.loads((tmp_path / CONFIG).read_text()) | change
    (tmp_path / CONFIG).write_text(json.dumps({k: v for k, v in given.items() if v is not None}))
    with pytest.raises(BadAdapter, match=reason):
        rewrite_config(tmp_path, BASE)


def test_good_weights_are_counted_in_pairs(tmp_path: Path) -> None:
    path = tmp_path / WEIGHTS
    path.write_bytes(make_adapter_bytes(rank=4))
    assert check_weights(path, rank=4) == 1
    with pytest.raises(BadAdapter, match="not of rank 8"):
        check_weights(path, rank=8)


WEIGHT_BYTES = make_adapter_bytes()


@pytest.mark.parametrize(
    ("damaged", "reason"),
    [
        (b"", "no safetensors file"),
        (WEIGHT_BYTES[:40], "truncated in its header"),
        (WEIGHT_BYTES[:-4], "truncated"),
        (WEIGHT_BYTES + b"\0", "truncated"),
        (b"PK\x03\x04" + WEIGHT_BYTES, "no safetensors file"),
        (WEIGHT_BYTES.replace(b"lora_B", b"lora_C"), "no LoRA matrix"),
        (WEIGHT_BYTES.replace(b"q_proj.lora_B", b"k_proj.lora_B"), "only one of its two"),
        (WEIGHT_BYTES.replace(b'"F32"', b'"I32"'), "LoRA weights are floats"),
        (WEIGHT_BYTES.replace(b"[2, 4]", b"[2, 5]"), "does not fit its shape"),
        (WEIGHT_BYTES.replace(b'"shape"', b'"shapf"'), "shape None"),
        (WEIGHT_BYTES.replace(b'"data_offsets"', b'"data_offsetz"'), "no place"),
        (WEIGHT_BYTES.replace(b'{"__meta', b'["__meta'), "cannot be read"),
        ((2).to_bytes(8, "little") + b"{}", "no weights"),
        ((2).to_bytes(8, "little") + b"[]", "no table"),
    ],
)
def test_damaged_weights_are_refused_with_the_reason(damaged: bytes, reason: str, tmp_path: Path) -> None:
    path = tmp_path / WEIGHTS
    path.write_bytes(damaged)
    with pytest.raises(BadAdapter, match=reason):
        check_weights(path, rank=2)


def test_an_adapter_that_acts_alike_in_peft_and_the_sampler_is_verified() -> None:
    assert judge_adapter(PROBE, ["abcd", "efgh"]) == VERIFIED
    assert judge_adapter(PROBE, ["abcd", "efgz "]).agreement == pytest.approx(0.875)


def test_an_unchanged_greedy_text_is_no_fault_where_logits_change() -> None:
    same = replace(PROBE, base_texts=PROBE.texts)
    assert judge_adapter(same, ["abcd", "efgh"]).changed_texts == 0


@pytest.mark.parametrize(
    ("probe", "texts", "reason"),
    [
        (replace(PROBE, finite=False), PROBE.texts, "not finite"),
        (replace(PROBE, weight_norm=0.0), PROBE.texts, "zero"),
        (replace(PROBE, weight_norm=float("nan")), PROBE.texts, "zero"),
        (replace(PROBE, max_logit_delta=0.0), PROBE.texts, "not applied"),
        (PROBE, PROBE.base_texts, "does not apply the adapter"),
        (PROBE, ("zzzz", "efzz"), "disagree"),
        (PROBE, ("abcd",), "2 probes"),
        (replace(PROBE, texts=(), base_texts=()), (), "0 probes"),
    ],
)
def test_an_adapter_that_does_not_hold_is_refused(
    probe: AdapterProbe, texts: tuple[str, ...], reason: str
) -> None:
    with pytest.raises(BadAdapter, match=reason):
        judge_adapter(probe, texts)


@pytest.mark.parametrize("texts", [PROBE.base_texts, ("zzzz", "efzz")])
def test_texts_that_differ_are_a_doubt_that_keeps_what_was_found(texts: tuple[str, ...]) -> None:
    with pytest.raises(TextsDiffer) as doubt:
        judge_adapter(PROBE, texts)
    assert (doubt.value.found.weight_norm, doubt.value.found.probes) == (1.5, 2)


def test_the_card_of_a_chat_adapter_names_its_template(tmp_path: Path) -> None:
    chat = {"template_sha256": "0" * 64, "system": "Be brief."}
    config = StarConfig.model_validate({"kind": "numeric", "layout": "chat", "chat": chat})
    write_card(tmp_path, BASE, config, 1, Coverage(1, 1, 0), "ab12", None, "<|im_start|>user")
    card = (tmp_path / "README.md").read_text()
    assert "0" * 64 in card
    assert "```text\n<|im_start|>user\n```" in card
    assert "add_special_tokens=False" in card


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"preference": {}}, ("iterative RPO", "pairs whose right text is one of 6 generated")),
        ({"self_distillation": {}}, ("with the gold answer in view", "every finished try at 10 examples")),
        ({"self_distillation": {"hint": "wrong"}}, ("another question's answer", "right or wrong")),
    ],
)
def test_the_card_says_what_was_learned(
    tmp_path: Path, changes: dict[str, Any], said: tuple[str, str]
) -> None:
    own = {"rationalization": {"enabled": False}, "generation": {"temperature": 1, "samples_per_example": 2}}
    config = StarConfig.model_validate({"kind": "numeric", **own, **changes})
    write_card(tmp_path, BASE, config, 1, Coverage(10, 6, 0), "ab12", None, PROMPT)
    card = " ".join((tmp_path / "README.md").read_text().split())
    assert all(part in card for part in said)
    assert "were kept, and the model was fine-tuned on them" not in card
