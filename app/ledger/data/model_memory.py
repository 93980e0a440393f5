"""Whether a base model can be trained on the GPUs that its entry of the allow-list asks for."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy.orm import Session

from app.tables.data import Model
from star_engine.adapters.weight_files import held_bytes, stored_bytes, training_bytes

GIB = 2**30
FOUR_BITS = "nf4"
SAMPLING_FACTOR = 1.1  # times the weights: what a sampler takes at least, with keys and values


def why_too_large(gpus: int, memory: float, sampled: Path, trained: Path) -> str | None:
    """Return a sentence where no training fits so many GPUs of `memory` GiB each.

    sampled, trained: the folder of a base model twice, or of a quantized one and its plain version. Raises
    ValueError, KeyError and OSError for weights that cannot be read.
    """
    plain, in_four = (training_bytes(trained, form) / GIB for form in (None, FOUR_BITS))
    stored = held_bytes(sampled) if sampled == trained else stored_bytes(sampled)
    sampling = SAMPLING_FACTOR * stored / GIB
    if plain <= memory * gpus or (in_four <= memory and sampling <= memory * gpus):
        return None
    return (
        f"a training takes at least {plain:.0f} GiB of GPU memory (in 4 bits, by training.quantization, "
        f"{in_four:.0f} GiB of one GPU, and sampling {sampling:.0f} GiB); its requirements say {gpus} x "
        f"{memory:g} GiB: raise `gpus` or `gpu_memory_gib`."
    )


def too_large(session: Session, model: Model, quantization: str | None) -> float | None:
    """Return how many GiB a training on this model takes, where that is more than its workers must have.

    None where it fits, where nothing is required, or where no files are here that would tell.
    """
    trained = model if model.trained_as is None else session.get_one(Model, model.trained_as)
    folder, memory = Path(trained.location), model.gpu_memory_gib
    if memory is None or not folder.is_dir():
        return None
    try:
        needed = training_bytes(folder, quantization) / GIB
    except (OSError, ValueError, KeyError):
        return None
    together = model.gpus if quantization is None else 1  # in 4 bits the layers are not cut into pieces
    return needed if needed > memory * together else None
