"""Chat templates of base models whose files are here, and prompt sets made ready for their jobs."""

from __future__ import annotations

from datetime import date
from functools import lru_cache
from pathlib import Path

from sqlalchemy.orm import Session

from app.errors import Conflict
from app.ledger.data.prompt_sets import as_prompt_set
from app.tables.data import Model
from app.tables.data import PromptSet as PromptSetRow
from app.tables.jobs import Job
from star_engine.config.chat import PromptLayout
from star_engine.config.star import StarConfig
from star_engine.data.chat import pinned, with_chat
from star_engine.data.chat_template import (
    GENERATION_CONFIG,
    SPECIAL_TOKENS,
    TEMPLATE_FILE,
    TOKENIZER,
    TOKENIZER_CONFIG,
    ChatTemplate,
    UnfitTemplate,
    read_chat_template,
)
from star_engine.tasks.examples import PromptSet

_READ = (TEMPLATE_FILE, TOKENIZER_CONFIG, TOKENIZER, SPECIAL_TOKENS, GENERATION_CONFIG)


def chat_template_of(model: Model, folder: Path | None = None) -> ChatTemplate | None:
    """The model's template; None where it has none. Raises UnfitTemplate where it cannot be used here.

    folder: where the model's files are; None: its location, which a hub model has on the workers only.
    """
    folder = folder or Path(model.location)
    if not folder.is_dir():
        raise UnfitTemplate(
            f"The files of {model.id} are on the workers only, so its chat template cannot be read: offer it "
            "from a folder that the API has."
        )
    return _read(folder, tuple((name, model.files[name]) for name in _READ if name in model.files))


@lru_cache(maxsize=32)
def _read(folder: Path, files: tuple[tuple[str, str], ...]) -> ChatTemplate | None:
    return read_chat_template(folder)


def default_layout(model: Model) -> PromptLayout:
    """The layout of a job that names none: chat where the model was trained on a template that is usable."""
    try:
        known = not model.is_base and chat_template_of(model) is not None
    except UnfitTemplate:
        known = False
    return "chat" if known else "completion"


def why_not_chat(model: Model) -> str | None:
    """Why a model that comes with a chat template is not asked in it; None where nothing is to be said."""
    if model.is_base or not Path(model.location).is_dir():
        return None
    try:
        chat_template_of(model)
    except UnfitTemplate as unfit:
        return str(unfit)
    return None


def settled(config: StarConfig, model: Model, today: date) -> StarConfig:
    """The settings of a new job with its layout, and with all that its prompts follow from.

    Released code learns prompts as well, which a conversation's are not: its jobs stay in the completion
    layout unless they say otherwise. Raises UnfitTemplate or, for settings that contradict, ValueError.
    """
    if config.layout is None:
        layout = "completion" if config.training.loss == "all" else default_layout(model)
        config = StarConfig.model_validate({**config.model_dump(), "layout": layout})
    template = chat_template_of(model) if config.is_chat else None
    return pinned(config, template, today)


def asked_with(config: StarConfig, row: PromptSetRow, model: Model, folder: Path | None = None) -> PromptSet:
    """The prompt set as a job of these settings shows it to its model. Raises UnfitTemplate."""
    template = chat_template_of(model, folder) if config.is_chat else None
    return with_chat(config, as_prompt_set(row), template)


def prompt_set_of(session: Session, job: Job, config: StarConfig | None = None) -> PromptSet:
    """A job's prompt set as it is asked; `config`: of one of its iterations, where that is another.

    Raises Conflict where the model's template is not here any more.
    """
    row = session.get_one(PromptSetRow, job.prompt_set_id)
    try:
        return asked_with(config or job.config, row, session.get_one(Model, job.model_id))
    except UnfitTemplate as unfit:
        detail = f"The prompts of {job.id} cannot be rendered. {unfit}"
        raise Conflict(detail, code="template_unavailable") from unfit
