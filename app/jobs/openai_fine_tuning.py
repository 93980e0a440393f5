"""A fine-tuning job of the OpenAI client as a job of ours: its files become a dataset, its settings ours."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from tempfile import NamedTemporaryFile, TemporaryDirectory
from typing import Annotated, Any, BinaryIO, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt
from sqlalchemy import Engine

from app.data.datasets import upload_dataset
from app.database import reading
from app.errors import Invalid, NotFound
from app.http.schemas import In, JsonObject, Metadata, Text
from app.intake.uploaded_file import HowToRead, Received
from app.jobs.settings import JobIn, PresetName
from app.jobs.validate import check_settings
from app.ledger.data.files import get_file
from app.ledger.data.prompt_sets import get_prompt_set
from app.settings import Settings
from app.storage import Storage
from app.tables.data import Dataset
from app.tables.files import File
from star_engine.tasks.kind import Kind

MAX_LINE_BYTES = 1 << 20  # a longer line is no JSON once it is cut
Auto = Literal["auto"]


class Hyperparameters(In):
    """The OpenAI hyperparameters that apply here. "auto" keeps the preset's value."""

    n_epochs: Auto | Annotated[StrictInt, Field(ge=1, le=1000)] = "auto"
    batch_size: Auto | Annotated[StrictInt, Field(ge=1, le=4096)] = "auto"
    learning_rate_multiplier: Auto = "auto"


class Supervised(In):
    hyperparameters: Hyperparameters = Hyperparameters()


class Method(In):
    type: Literal["supervised"] = "supervised"
    supervised: Supervised = Supervised()


class FineTuningIn(BaseModel):
    """OpenAI's body; the client's `extra_body` adds `prompt_set`, `preset`, `config`, `validation`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: Annotated[Text, Field(max_length=200)]
    training_file: Annotated[Text, Field(max_length=200)]
    validation_file: Annotated[Text | None, Field(max_length=200)] = None
    suffix: Annotated[Text | None, Field(max_length=64)] = None
    seed: Annotated[StrictInt | None, Field(ge=0, lt=2**31)] = None
    hyperparameters: Hyperparameters = Hyperparameters()
    method: Method | None = None
    integrations: None = None
    metadata: Metadata | None = None
    prompt_set: Annotated[Text, Field(max_length=200, description="The few-shot examples: ps_...")]
    preset: PresetName = "star"
    config: JsonObject = Field(default={})
    validation: Annotated[
        StrictInt, Field(ge=0, description="Rows to hold out if no validation file is given.")
    ] = 0
    allow_overlap: Annotated[
        StrictBool, Field(description="Accept validation rows whose question is also in the training file.")
    ] = False


def as_job(sent: FineTuningIn, dataset_id: str) -> JobIn:
    """Return the equivalent body of POST /v1/jobs. `config` overrides the hyperparameters."""
    chosen = sent.hyperparameters if sent.method is None else sent.method.supervised.hyperparameters
    training: dict[str, Any] = {}
    if chosen.n_epochs != "auto":
        training["schedule"] = {"kind": "epochs", "epochs": chosen.n_epochs}
        training["warmup_steps"] = 0  # few epochs on little data end before the preset's 100 steps
    if chosen.batch_size != "auto":
        training["batch_size"] = chosen.batch_size
    config: dict[str, Any] = {"training": training} if training else {}
    if sent.seed is not None:
        config["seed"] = sent.seed
    for name, value in sent.config.items():
        both = isinstance(value, dict) and isinstance(config.get(name), dict)
        config[name] = {**config[name], **value} if both else value
    return JobIn(
        name=sent.suffix or None,
        model=sent.model,
        dataset=dataset_id,
        prompt_set=sent.prompt_set,
        preset=sent.preset,
        config=config,
        metadata=sent.metadata or {},
        allow_overlap=sent.allow_overlap,
    )


def check_before_data(engine: Engine, project_id: str, offered: frozenset[str], sent: FineTuningIn) -> Kind:
    """The kind of the job's questions. Raises Invalid for what is wrong whatever its files hold."""
    with reading(engine) as session:
        try:
            kind = get_prompt_set(session, project_id, sent.prompt_set).kind
        except NotFound as missing:
            raise _unknown("prompt_set", missing) from missing
        check_settings(session, offered, as_job(sent, "not read yet"), kind)
        return kind


def dataset_of(
    engine: Engine, storage: Storage, settings: Settings, project_id: str, sent: FineTuningIn, kind: Kind
) -> Dataset:
    """The dataset in the job's files. Raises Invalid naming the file, or the row, at fault."""
    with reading(engine) as session:
        try:
            field = "training_file"
            training = get_file(session, project_id, sent.training_file)
            field = "validation_file"
            held_out = sent.validation_file and get_file(session, project_id, sent.validation_file)
        except NotFound as missing:
            raise _unknown(field, missing) from missing
    if held_out and held_out.sha256 == training.sha256 and not sent.allow_overlap:
        raise _same_file()
    carved = 0 if held_out else sent.validation
    how = HowToRead(kind, carved, sent.seed or 0, allow_overlap=sent.allow_overlap)
    with TemporaryDirectory() as folder, NamedTemporaryFile(dir=folder) as whole:
        for file, split in ((training, None), (held_out, "validation")):
            if file:
                part = Path(folder) / "part"
                storage.area(file.area).fetch(file.sha256, part)
                _append(cast(BinaryIO, whole), part, file, split, marked=bool(held_out))
        whole.seek(0)
        received = Received(cast(BinaryIO, whole), training.filename, "", "")
        return upload_dataset(engine, project_id, training.filename, received, None, how, settings)[0]


def _unknown(field: str, missing: NotFound) -> Invalid:
    fix = "Use the id of one that was uploaded."
    return Invalid.for_field(field, missing.detail, fix, detail=missing.detail)


def _same_file() -> Invalid:
    return Invalid.for_field(
        "validation_file",
        "It holds the same as the training file: accuracy would show what was remembered.",
        "Give a file with other questions, or leave it out and set `validation` to hold rows out. "
        "`allow_overlap` in extra_body takes it as it is.",
        code="overlap",
    )


def _append(whole: BinaryIO, part: Path, file: File, split: str | None, *, marked: bool) -> None:
    """Without a validation file the bytes as they are; with one, JSONL whose rows say where they belong."""
    with part.open("rb") as source:
        if not marked:
            shutil.copyfileobj(source, whole)
            return
        for row in _rows(source, file):
            row["split"] = split or "train"
            whole.write(json.dumps(row).encode() + b"\n")


def _rows(source: BinaryIO, file: File) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(iter(lambda: source.readline(MAX_LINE_BYTES), b""), start=1):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict):
            raise Invalid.for_field(
                file.filename,
                "The line is no JSON object.",
                "Send JSONL where a validation file is given: one object per line.",
                detail=f"{file.filename} is not JSONL.",
                line=number,
            )
        yield row
