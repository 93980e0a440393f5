"""What a dataset holds, counted at its upload, and its tokens and overlap with a prompt set, counted now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field
from sqlalchemy import Engine

from app.data.tokenizers import needed_tokenizer
from app.database import reading
from app.http.schemas import Item
from app.ledger.data.base_models import get_model
from app.ledger.data.datasets import get_dataset
from app.ledger.data.prompt_sets import as_prompt_set, get_prompt_set
from app.ledger.data.statistics import few_shot_overlap, token_lengths

if TYPE_CHECKING:
    pass


class DatasetStatisticsOut(Item):
    """`statistics` is what was counted at upload; the rest only where a model or a prompt set is named."""

    object: Literal["dataset.statistics"] = "dataset.statistics"
    statistics: dict[str, Any] | None
    tokens: Annotated[
        dict[str, Any] | None,
        Field(description="Lengths with the model's tokenizer, of at most 10,000 evenly spread `examples`."),
    ]
    few_shot: Annotated[
        dict[str, Any] | None,
        Field(
            description="Examples whose question the prompt set shows: exactly, or by half of its n-grams."
        ),
    ]


def read_statistics(
    db: Engine,
    project_id: str,
    offered: frozenset[str],
    dataset_id: str,
    *,
    model: str | None = None,
    prompt_set: str | None = None,
) -> DatasetStatisticsOut:
    with reading(db) as session:
        dataset = get_dataset(session, project_id, dataset_id)
        tokens = shown = None
        if model is not None:
            tokenizer = needed_tokenizer(get_model(session, model, offered))
            tokens = {"model": model, **token_lengths(session, dataset, tokenizer)}
        if prompt_set is not None:
            row = get_prompt_set(session, project_id, prompt_set)
            shown = {"prompt_set": row.id, **few_shot_overlap(session, dataset, as_prompt_set(row))}
    return DatasetStatisticsOut(id=dataset.id, statistics=dataset.statistics, tokens=tokens, few_shot=shown)
