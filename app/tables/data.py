"""Tables of datasets, prompt sets and base models."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, UniqueConstraint, false, true
from sqlalchemy.orm import Mapped, mapped_column

from app.tables.base import Base, Deletable, Json, JsonObject, Serial, created
from app.tables.platform import Project
from star_engine.tasks.kind import Kind


class Dataset(Deletable, Base):
    """Uploaded examples, with splits. The same bytes read the same way are one dataset."""

    __tablename__ = "datasets"
    __table_args__ = (UniqueConstraint("project_id", "sha256"),)
    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey(Project.id))
    name: Mapped[str]
    kind: Mapped[Kind]
    sha256: Mapped[str]  # of the bytes and of how they were read (kind, split rule, seed)
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    splits: Mapped[JsonObject]  # {"train": 600, "validation": 200}
    warnings: Mapped[list[Any] | None] = mapped_column(Json)  # what to know before training on it
    version: Mapped[int] = mapped_column(server_default="1")  # counts up among those of one name in a project
    statistics: Mapped[JsonObject | None] = mapped_column(Json)  # see app/intake/statistics.py
    derived_from: Mapped[JsonObject | None] = mapped_column(Json)  # {"job", "dataset", "selection"}
    # While its examples come in nobody sees it; past this moment it counts as abandoned. None: it is whole.
    staged_until: Mapped[datetime | None]
    archived_at: Mapped[datetime | None]  # left out of lists
    created_by: Mapped[str | None]  # the key's id
    creator: Mapped[str | None]  # its name then; of a personal key the person's
    created_at: Mapped[datetime] = created()


class Example(Base):
    """Question and answer. `position` counts from 0 within the split: shards are ranges of positions."""

    __tablename__ = "examples"
    __table_args__ = (
        UniqueConstraint("dataset_id", "external_id"),
        UniqueConstraint("dataset_id", "split", "position"),
        Index("ix_examples_dataset_id_id", "dataset_id", "id"),
    )
    id: Mapped[int] = mapped_column(Serial, primary_key=True)
    dataset_id: Mapped[str] = mapped_column(ForeignKey(Dataset.id, ondelete="CASCADE"))
    split: Mapped[str]
    position: Mapped[int]
    external_id: Mapped[str]  # the row's own id, or its line number
    question: Mapped[str]
    answer: Mapped[str]
    choices: Mapped[list[Any] | None] = mapped_column(Json)
    group: Mapped[str | None]
    solution: Mapped[str | None]  # worked out by a person, its answer at the end
    # Turns before the question, [user, assistant] pairs; null where it stands alone.
    context: Mapped[list[Any] | None] = mapped_column(Json)


class PromptSet(Deletable, Base):
    """The handful of hand-written few-shot examples."""

    __tablename__ = "prompt_sets"
    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey(Project.id), index=True)
    name: Mapped[str]
    kind: Mapped[Kind]
    examples: Mapped[list[Any]]
    sha256: Mapped[str]
    version: Mapped[int] = mapped_column(server_default="1")  # as of datasets
    # Recorded with a job that needed it, as with a draft; not listed, since nobody has made it.
    listed: Mapped[bool] = mapped_column(default=True, server_default=true())
    created_by: Mapped[str | None]  # as of datasets
    creator: Mapped[str | None]
    created_at: Mapped[datetime] = created()


class Model(Base):
    """A base model of the allow-list. Workers refuse files whose sha256 is not the one written here."""

    __tablename__ = "models"
    id: Mapped[str] = mapped_column(primary_key=True)  # the name that jobs ask for
    location: Mapped[str]  # a folder, or a hub id
    revision: Mapped[str | None]  # of a hub id: a commit
    repository: Mapped[str | None]  # of a hub: what adapters name as their base, with the revision
    files: Mapped[JsonObject]  # file name -> sha256
    context_length: Mapped[int]  # tokens
    license: Mapped[str | None]
    trained_as: Mapped[str | None]  # of a quantized one: the model that is trained in its place
    gpus: Mapped[int] = mapped_column(default=1, server_default="1")  # that the sampler spreads it over
    gpu_memory_gib: Mapped[float | None]  # of each GPU, at least
    gpu_class: Mapped[str | None]
    is_base: Mapped[bool] = mapped_column(
        default=False, server_default=false()
    )  # not trained on its template
    created_at: Mapped[datetime] = created()
