"""A publishable adapter: its files, allow-listed config, weights of the right shape, proof that it works."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from itertools import takewhile
from pathlib import Path
from typing import Any, ClassVar, Protocol

from star_engine.protocols import AdapterProbe, BadAdapter

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
CARD = "README.md"
MANIFEST = "manifest.json"
EXAMPLE = "prompt_example.txt"  # one prompt, to the byte, as the adapter was trained to be asked
HEAD = "thought_head.safetensors"  # of an adapter that thinks: mixing head and the two soft tokens
THINKING = "quiet_star.json"  # how it thinks: settings of its training
LAYOUT = frozenset({CONFIG, WEIGHTS, CARD, MANIFEST, EXAMPLE})
QUIET_LAYOUT = frozenset({CONFIG, WEIGHTS, HEAD, THINKING, CARD, MANIFEST})  # no prompt: it reads any text
# Beside them, never among them: what the next iteration's training goes on with where its optimizer is
# carried. See star_engine/gpu/training/train_checkpoint.py.
OPTIMIZER = "optimizer.safetensors"
REMOVABLE = (WEIGHTS, HEAD, OPTIMIZER)  # of an adapter that is deleted; card and manifest stay

# What PEFT and vLLM need to load a LoRA adapter. Anything else (auto_mapping, paths of this machine, the
# runtime config of an initialisation method) stays out: a consumer would obey it.
_CONFIG_KEYS = (
    "peft_type",
    "task_type",
    "base_model_name_or_path",
    "revision",
    "r",
    "lora_alpha",
    "lora_dropout",
    "target_modules",
    "bias",
    "fan_in_fan_out",
    "inference_mode",
    "use_rslora",
    "use_dora",
    "modules_to_save",
    "rank_pattern",
    "alpha_pattern",
)
_REQUIRED = ("peft_type", "r", "lora_alpha", "target_modules")
_DTYPE_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
_MAX_HEADER_BYTES = 100_000_000  # the format's own limit


@dataclass(frozen=True, slots=True)
class BaseModel:
    """The base model an adapter belongs to: a hub id, or the service's name for a local model."""

    name: str
    revision: str | None = None


@dataclass(frozen=True, slots=True)
class AdapterVerification:
    """The result of loading the adapter in PEFT and in the sampler."""

    weight_norm: float
    max_logit_delta: float
    changed_texts: int  # probe prompts that PEFT continues otherwise than the base model
    agreement: float  # mean shared prefix of PEFT's and the sampler's texts, 0 to 1
    probes: int
    score_difference: float | None = None  # in nats a token, where the texts alone did not settle it


class Verification(Protocol):
    """A dataclass of what was found when an adapter was loaded, whatever its role."""

    __dataclass_fields__: ClassVar[dict[str, Any]]


def rewrite_config(directory: Path, base: BaseModel) -> dict[str, Any]:
    """Rewrite adapter_config.json from the allow-list, with the base model's name and revision."""
    path = directory / CONFIG
    try:
        given = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as problem:
        raise BadAdapter(f"{CONFIG} cannot be read: {problem}") from problem
    missing = [key for key in _REQUIRED if key not in given]
    if missing or given.get("peft_type") != "LORA":
        raise BadAdapter(f"{CONFIG} is not a LoRA config: it lacks {', '.join(missing) or 'peft_type LORA'}.")
    if given.get("bias", "none") != "none" or given.get("use_dora") or given.get("modules_to_save"):
        raise BadAdapter(f"{CONFIG} asks for bias, DoRA or whole saved modules; only plain LoRA is served.")
    config = {key: given[key] for key in _CONFIG_KEYS if key in given}
    config |= {"base_model_name_or_path": base.name, "revision": base.revision, "inference_mode": True}
    if isinstance(config["target_modules"], list):
        config["target_modules"] = sorted(config["target_modules"])  # a set in PEFT: its order varies by run
    write_durably(path, pretty(config))
    return config


def check_weights(path: Path, rank: int) -> int:
    """Read the safetensors header only; the number of LoRA pairs. Raises BadAdapter with the reason.

    Refused: truncated or padded files, tensors that are no LoRA matrices of a known float type, an A without
    its B, a rank other than the config's. Values (zero, NaN) are the trainer's probe's to judge.
    """
    header, data_bytes = _read_header(path)
    tensors = {name: entry for name, entry in header.items() if name != "__metadata__"}
    end = 0
    for name, entry in sorted(tensors.items(), key=lambda item: _offsets(item[0], item[1])):
        start, stop = _offsets(name, entry)
        if start != end or stop - start != _size(name, entry):
            raise BadAdapter(f"{path.name}: the place of tensor {name} does not fit its shape.")
        end = stop
    if end != data_bytes:
        raise BadAdapter(
            f"{path.name} holds {data_bytes} bytes of weights, its header says {end}: truncated?"
        )
    return _check_pairs(path, tensors, rank)


def _read_header(path: Path) -> tuple[dict[str, Any], int]:
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= min(size - 8, _MAX_HEADER_BYTES):
                raise BadAdapter(f"{path.name} is no safetensors file, or truncated in its header.")
            header = json.loads(file.read(length))
    except (OSError, ValueError) as problem:
        if isinstance(problem, BadAdapter):
            raise
        raise BadAdapter(f"{path.name} cannot be read: {problem}") from problem
    if not isinstance(header, dict) or not all(isinstance(entry, dict) for entry in header.values()):
        raise BadAdapter(f"{path.name} has a header that is no table of tensors.")
    return header, size - 8 - length


def _offsets(name: str, entry: Mapping[str, Any]) -> tuple[int, int]:
    offsets = entry.get("data_offsets")
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(type(o) is int for o in offsets):
        raise BadAdapter(f"Tensor {name} has no place in the file.")
    return offsets[0], offsets[1]


def _size(name: str, entry: Mapping[str, Any]) -> int:
    shape, dtype = entry.get("shape"), entry.get("dtype")
    if dtype not in _DTYPE_BYTES or not isinstance(shape, list) or not all(type(n) is int for n in shape):
        raise BadAdapter(f"Tensor {name} is of type {dtype} and shape {shape}; LoRA weights are floats.")
    return math.prod(shape) * _DTYPE_BYTES[dtype]


def _check_pairs(path: Path, tensors: Mapping[str, Mapping[str, Any]], rank: int) -> int:
    strange = [name for name in tensors if not name.endswith((".lora_A.weight", ".lora_B.weight"))]
    if strange:
        raise BadAdapter(f"{path.name} holds {strange[0]}, which is no LoRA matrix.")
    stems = {name.rsplit(".lora_", 1)[0] for name in tensors}
    if not stems:
        raise BadAdapter(f"{path.name} holds no weights.")
    for stem in sorted(stems):
        a, b = tensors.get(f"{stem}.lora_A.weight"), tensors.get(f"{stem}.lora_B.weight")
        if a is None or b is None:
            raise BadAdapter(f"{path.name}: {stem} has only one of its two LoRA matrices.")
        if len(a["shape"]) != 2 or len(b["shape"]) != 2 or not a["shape"][0] == b["shape"][1] == rank:
            raise BadAdapter(
                f"{path.name}: {stem} has shapes {a['shape']}, {b['shape']}, not of rank {rank}."
            )
    return len(stems)


class TextsDiffer(BadAdapter):
    """PEFT and the sampler write other texts. `found`: what else there is to say of the adapter."""

    def __init__(self, message: str, found: AdapterVerification) -> None:
        super().__init__(message)
        self.found = found


def judge_adapter(probe: AdapterProbe, sampler_texts: Sequence[str]) -> AdapterVerification:
    """Compare PEFT's continuations with the sampler's for the same prompts. Raises BadAdapter with the
    reason; it is TextsDiffer where the texts alone speak against the adapter, which scores may refute.

    A changed logit proves that the adapter acts; a changed text is not asked for, since a good adapter may
    leave a greedy text as it was. The two texts need not be equal to the last token (different kernels
    round differently, and one token turns the rest), but must share half on average, and where PEFT's texts
    differ from the base model's, the sampler must not write the base model's.
    """
    if not probe.finite:
        raise BadAdapter("The adapter holds weights that are not finite: the training diverged.")
    if not probe.weight_norm > 0:
        raise BadAdapter("The adapter's weights are zero: it changes nothing.")
    if not probe.max_logit_delta > 0:
        raise BadAdapter("With the adapter loaded, no probe prompt's logits change: it is not applied.")
    if not probe.texts or len(probe.texts) != len(sampler_texts):
        raise BadAdapter(f"{len(probe.texts)} probes in PEFT, {len(sampler_texts)} in the sampler.")
    pairs = list(zip(probe.texts, sampler_texts, strict=True))
    changed = [n for n, text in enumerate(probe.texts) if text != probe.base_texts[n]]
    agreement = sum(_shared_prefix(a, b) for a, b in pairs) / len(pairs)
    found = AdapterVerification(
        probe.weight_norm, probe.max_logit_delta, len(changed), agreement, len(probe.texts)
    )
    if changed and all(sampler_texts[n] == probe.base_texts[n] for n in changed):
        said = "The sampler writes what the base model writes: it does not apply the adapter."
        raise TextsDiffer(said, found)
    if agreement < 0.5:
        said = f"PEFT and the sampler disagree: their greedy texts share {agreement:.0%}."
        raise TextsDiffer(said, found)
    return found


def _shared_prefix(one: str, other: str) -> float:
    longest = max(len(one.rstrip()), len(other.rstrip()))
    same = takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False))
    return min(sum(1 for _ in same), longest) / longest if longest else 1.0


def write_manifest(
    directory: Path,
    facts: Mapping[str, Any],
    verification: Verification,
    layout: frozenset[str] = LAYOUT,
) -> None:
    """manifest.json: sha256 and size of the other files, where they come from, how they were proven."""
    files = {
        name: {"sha256": file_sha256(directory / name), "bytes": (directory / name).stat().st_size}
        for name in sorted(layout - {MANIFEST})
    }
    manifest = {"files": files, "verification": asdict(verification), **facts}
    write_durably(directory / MANIFEST, pretty(manifest))


def check_layout(directory: Path, layout: frozenset[str] = LAYOUT) -> None:
    """Exactly the files of the layout, as plain files, and matching the manifest. Raises BadAdapter."""
    found = {path.name for path in directory.iterdir()}
    if found != layout or not all((directory / name).is_file() for name in layout):
        missing, extra = sorted(layout - found), sorted(found - layout)
        raise BadAdapter(
            f"The adapter's folder lacks {missing or 'nothing'} and has {extra or 'nothing'} extra."
        )
    manifest = json.loads((directory / MANIFEST).read_text(encoding="utf-8"))
    for name, recorded in manifest["files"].items():
        if file_sha256(directory / name) != recorded["sha256"]:
            raise BadAdapter(
                f"{name} is not the file that was verified: its sha256 differs from the manifest."
            )


def file_sha256(path: Path) -> str:
    """Hex digest of a file."""
    digest = sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def write_durably(path: Path, text: str) -> None:
    """Write under a temporary name, fsync, rename: a crash leaves the old file or the new one."""
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def pretty(value: Mapping[str, Any]) -> str:
    """JSON for people, the same bytes for the same value."""
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
