"""What a dataset holds, seen with a model's tokenizer and beside a prompt set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import Query
from pydantic import Field

from app.database import reading
from app.errors import Invalid
from app.http.auth import Reader
from app.http.dependencies import Db, OfferedModels
from app.http.router import api_router
from app.http.schemas import Item
from app.jobs.prompt_lengths import load_tokenizer
from app.jobs.validate import TOKENIZER
from app.ledger.data.base_models import get_model
from app.ledger.data.datasets import get_dataset
from app.ledger.data.prompt_sets import as_prompt_set, get_prompt_set
from app.ledger.data.statistics import few_shot_overlap, token_lengths
from app.tables.data import Model

if TYPE_CHECKING:
    from tokenizers import Tokenizer

router = api_router("datasets", "/v1/datasets")
Id = Annotated[str | None, Query(max_length=200)]


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


@router.get("/{dataset_id}/statistics", summary="Get the statistics of a dataset")
def statistics(
    caller: Reader,
    db: Db,
    offered: OfferedModels,
    dataset_id: str,
    model: Id = None,
    prompt_set: Id = None,
) -> DatasetStatisticsOut:
    with reading(db) as session:
        dataset = get_dataset(session, caller.project_id, dataset_id)
        tokens = shown = None
        if model is not None:
            tokenizer = tokenizer_of(get_model(session, model, offered))
            tokens = {"model": model, **token_lengths(session, dataset, tokenizer)}
        if prompt_set is not None:
            row = get_prompt_set(session, caller.project_id, prompt_set)
            shown = {"prompt_set": row.id, **few_shot_overlap(session, dataset, as_prompt_set(row))}
    return DatasetStatisticsOut(id=dataset.id, statistics=dataset.statistics, tokens=tokens, few_shot=shown)


def tokenizer_of(model: Model) -> Tokenizer:
    """The model's tokenizer. Raises Invalid where its files lie on the workers only."""
    path = Path(model.location) / TOKENIZER
    if TOKENIZER not in model.files or not path.is_file():
        reason = f"The tokenizer of {model.id} is not on this machine."
        fix = "Leave the model out, or offer it from a folder that the API has."
        detail = f"{reason} Tokens cannot be counted."
        raise Invalid.for_field("model", reason, fix, code="no_tokenizer", detail=detail)
    return load_tokenizer(path, model.files[TOKENIZER])
