"""A Quiet-STaR run as a YAML file, for `python -m star_engine quiet-star`."""

from __future__ import annotations

from pathlib import Path

import yaml
from pydantic import Field, ValidationError

from star_engine.config.quiet_star import QuietStar
from star_engine.data.files import text_of
from star_engine.job_file import BadJob, mistakes
from star_engine.section import Section
from star_engine.settings_yaml import load_settings


class QuietJob(Section):
    """The file's content. Paths are relative to the file."""

    documents: Path  # JSONL with `text`, or a text file
    base_model: Path  # folder with config.json, tokenizer and safetensors
    output: Path
    device: str = "cpu"
    steps: int = Field(default=100, ge=1)
    seed: int = Field(default=0, ge=0)
    held_out: float = Field(default=0.1, gt=0, lt=1)  # share of the documents
    held_out_windows: int = Field(default=64, ge=1)  # that are measured at most
    settings: QuietStar = QuietStar()


def read_quiet_job(path: Path) -> QuietJob:
    """Raises BadJob, which names every mistake, before any model is loaded."""
    try:
        job = QuietJob.model_validate(load_settings(text_of(path.read_bytes())))
    except ValidationError as problem:
        raise BadJob(mistakes(problem)) from problem
    except (OSError, yaml.YAMLError) as problem:
        raise BadJob(str(problem)) from problem
    paths = ("documents", "base_model", "output")
    return job.model_copy(update={name: path.parent / getattr(job, name) for name in paths})
