"""A STaR run as a YAML file, for `python -m star_engine` and for recipes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, ValidationError

from star_engine.config.presets import PRESETS, laid_over
from star_engine.config.quiet_star import OuterLoop
from star_engine.config.star import StarConfig
from star_engine.data.chat import pinned, with_chat
from star_engine.data.chat_template import UnfitTemplate, read_chat_template
from star_engine.data.files import read_file, text_of, told_once
from star_engine.data.overlap import trained_on, without_few_shot
from star_engine.data.prompt_sets import groups_without_examples, read_prompt_set
from star_engine.data.row_errors import BadRows
from star_engine.section import Section
from star_engine.settings_yaml import load_settings
from star_engine.tasks.examples import Example, PromptSet, assign_splits
from star_engine.tasks.kind import Kind
from star_engine.tasks.registry import TASKS
from star_engine.training_set.mixing import check_mix


class JobFile(Section):
    """The file's content. Paths are relative to the file."""

    dataset: Path  # JSONL
    # By the names that evaluation.also and training_set.mix call them by; split like `dataset`.
    other_datasets: dict[str, Path] = Field(default_factory=dict)
    prompt_set: Path  # JSON or text
    base_model: Path  # folder with config.json, tokenizer and safetensors
    base_model_name: str | None = None  # hub id for the adapters' config; None: the folder's name
    base_model_revision: str | None = None
    licence: str | None = None  # of the base model, for the model cards
    sampler: Literal["transformers", "vllm"] = "transformers"
    device: str = "cpu"  # of the trainer and the transformers sampler, as torch names it
    gpu_memory_utilization: float = Field(default=0.5, gt=0, le=1)  # vLLM's; the trainer shares the GPU
    output: Path
    allow_overlap: bool = False  # run although held-out questions are trained on
    held_out: int = Field(default=200, ge=1)  # carved from train where the dataset marks no validation split
    train: int | None = Field(default=None, ge=1)  # take only the first examples of the train split
    preset: str | None = None
    config: dict[str, Any] = Field(default_factory=dict)  # part of a StarConfig, merged into the preset's


class BadJob(ValueError):
    """A job that cannot be run; the message names every mistake."""


@dataclass(frozen=True, slots=True)
class Job:
    """A job file with everything it names, read and checked."""

    file: JobFile
    config: StarConfig
    train: tuple[Example, ...]
    held_out: tuple[Example, ...]
    prompt_set: PromptSet
    also: dict[str, tuple[Example, ...]]  # held-out examples of evaluation.also
    mixed: dict[str, tuple[Example, ...]]  # train examples of training_set.mix


def read_job(path: Path) -> Job:
    """Read a job file, its dataset and its prompt set. Raises BadJob before any model is loaded."""
    try:
        written = load_settings(text_of(path.read_bytes()))
        file = _resolved(JobFile.model_validate(written), path.parent)
        config = _config(file)
        prompt_set = read_prompt_set(file.prompt_set.read_bytes(), config.kind)
        template = read_chat_template(file.base_model) if config.is_chat else None
        config = pinned(config, template, today=None)
        prompt_set = with_chat(config, prompt_set, template)
    except ValidationError as problem:
        raise BadJob(mistakes(problem)) from problem
    except (OSError, yaml.YAMLError, BadRows, UnfitTemplate) as problem:
        raise BadJob(str(problem)) from problem
    train, held_out = _split(file, config, file.dataset)
    _check(file, prompt_set, train, held_out)
    also, mixed = _other_datasets(file, config)
    if not file.allow_overlap:
        _check_overlap({file.dataset.name: train, **mixed}, {file.dataset.name: held_out, **also})
    if not without_few_shot(prompt_set, held_out):
        raise BadJob("Every held-out example is a few-shot example of the prompt set; hold out others.")
    try:
        check_mix(config, prompt_set, mixed)
    except ValueError as problem:
        raise BadJob(str(problem)) from problem
    _check_groups(prompt_set, (example for examples in also.values() for example in examples))
    return Job(file, config, train[: file.train], held_out, prompt_set, also, mixed)


def mistakes(problem: ValidationError) -> str:
    """Return one line per field; pydantic's own text links to its website for each."""
    errors = problem.errors(include_url=False, include_context=False)
    return "\n".join(f"{'.'.join(map(str, one['loc'])) or 'job file'}: {one['msg']}." for one in errors)


def _check_overlap(train: Mapping[str, Iterable[Example]], held_out: Mapping[str, Sequence[Example]]) -> None:
    for name, questions in held_out.items():
        for where, examples in train.items():
            found = list(trained_on(questions, examples))
            if found:
                held, same = found[0]
                raise BadJob(
                    f"{len(found)} held-out questions of {name} are trained on: {held.id!r} asks the same as "
                    f"{same.id!r} of {where}. Remove them, or set allow_overlap: true in the job file."
                )


def _split(
    file: JobFile, config: StarConfig, dataset: Path
) -> tuple[tuple[Example, ...], tuple[Example, ...]]:
    """Split a dataset into examples to train on and held-out ones."""
    split = assign_splits(_examples(dataset, config.kind), file.held_out, config.seed)
    train = tuple(example for example in split if example.split == "train")
    return train, tuple(example for example in split if example.split == config.evaluation.split)


def _other_datasets(
    file: JobFile, config: StarConfig
) -> tuple[dict[str, tuple[Example, ...]], dict[str, tuple[Example, ...]]]:
    """The datasets that are measured along, and those that are mixed in."""
    mix = [one.dataset for one in config.training_set.mix]
    named = {"evaluation.also": config.evaluation.also, "training_set.mix": mix}
    for field, names in named.items():
        if unknown := [name for name in names if name not in file.other_datasets]:
            raise BadJob(f"{field} names {unknown[0]!r}; say under other_datasets where that is.")
    if idle := file.other_datasets.keys() - {*config.evaluation.also, *mix}:
        raise BadJob(
            f"other_datasets names {min(idle)!r}; evaluation.also or training_set.mix must name it too."
        )
    parts = {name: _split(file, config, path) for name, path in file.other_datasets.items()}
    for name in config.evaluation.also:
        if not parts[name][1]:
            raise BadJob(f"{name} has no examples in the split {config.evaluation.split}; mark some.")
    return {name: parts[name][1] for name in config.evaluation.also}, {name: parts[name][0] for name in mix}


def _resolved(file: JobFile, folder: Path) -> JobFile:
    paths = {name: folder / getattr(file, name) for name in ("dataset", "prompt_set", "base_model", "output")}
    others = {name: folder / path for name, path in file.other_datasets.items()}
    return file.model_copy(update={**paths, "other_datasets": others})


def _config(file: JobFile) -> StarConfig:
    config = _laid_over_preset(file)
    if config.method is OuterLoop.QUIET_STAR:
        raise BadJob("config.method: Quiet-STaR is a run of its own: python -m star_engine quiet-star.")
    if config.evaluation.without_thoughts:
        raise BadJob(
            "config.evaluation.without_thoughts: it is for adapters that think between tokens (Quiet-STaR); "
            "leave it out."
        )
    return config


def _laid_over_preset(file: JobFile) -> StarConfig:
    if file.preset is None:
        return StarConfig.model_validate(file.config)
    if file.preset not in PRESETS:
        raise BadJob(f"There is no preset {file.preset!r}; known are {', '.join(PRESETS)}.")
    if file.config.get("kind") not in TASKS:
        raise BadJob(f"config.kind must be one of {', '.join(TASKS)}.")
    preset = PRESETS[file.preset](Kind(file.config["kind"]))
    return StarConfig.model_validate(laid_over(preset.model_dump(), file.config))


def _examples(dataset: Path, kind: Kind) -> list[Example]:
    try:
        return read_file(dataset, kind)
    except OSError as problem:
        raise BadJob(str(problem)) from problem
    except BadRows as bad:
        count = "1 mistake" if len(bad.errors) == 1 else f"{len(bad.errors)} mistakes"
        raise BadJob(f"{dataset.name} has {count}:\n{told_once(bad.errors)}") from bad


def _check(
    file: JobFile, prompt_set: PromptSet, train: tuple[Example, ...], held_out: tuple[Example, ...]
) -> None:
    if not train or not held_out:
        raise BadJob(
            f"{file.dataset.name} leaves {len(train)} examples to train on and {len(held_out)} held out; "
            "both are needed."
        )
    _check_groups(prompt_set, (*train, *held_out))


def _check_groups(prompt_set: PromptSet, examples: Iterable[Example]) -> None:
    bare = groups_without_examples(prompt_set, (example.group for example in examples))
    if bare:
        raise BadJob(
            f"The prompt set has no few-shot example for the groups {', '.join(bare)}; "
            "add some, or examples without a group, which are shown to all."
        )
