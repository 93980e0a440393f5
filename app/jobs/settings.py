"""A job as requests give it, and what its settings are once they are merged into a preset."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, GetJsonSchemaHandler, StrictBool, StrictInt, ValidationError, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.database import clock
from app.errors import Invalid
from app.http.problems import field_errors
from app.http.schemas import In, JsonObject, Metadata, Moment, Name, Text
from app.ledger.data.chat_templates import asked_with, settled
from app.tables.data import Model
from app.tables.data import PromptSet as PromptSetRow
from app.webhooks.validate import JobWebhookIn
from star_engine.config.presets import DOCUMENT_PRESETS, PRESETS, preset_config, presets_of
from star_engine.config.reference import nearest, overrides
from star_engine.config.star import StarConfig
from star_engine.data.chat_template import UnfitTemplate
from star_engine.sampling.probe import FEWEST, MOST
from star_engine.tasks.examples import PromptSet
from star_engine.tasks.kind import Kind, reads_documents


class _Described:
    """Stands in OpenAPI as the tree with every setting optional. What is sent is validated once it is merged
    into the preset, since most rules hold between settings."""

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return handler(overrides().__pydantic_core_schema__)


PresetName = Annotated[Text, Field(max_length=64)]
ConfigOverrides = Annotated[JsonObject, _Described()]


class BudgetIn(In):
    """Limits on what a job may use. The job ends with what it has once any of them is reached."""

    gpu_seconds: Annotated[float, Field(gt=0, le=1e9, allow_inf_nan=False)] | None = None
    deadline: Moment | None = None
    deadline_seconds: Annotated[float, Field(gt=0, le=1e8, allow_inf_nan=False)] | None = None  # from now on

    @model_validator(mode="after")
    def _one_deadline(self) -> BudgetIn:
        if self.deadline is not None and self.deadline_seconds is not None:
            raise ValueError("Give either `deadline` or `deadline_seconds`")
        return self


class JobIn(In):
    """What to run: a base model, a dataset, a prompt set, and settings merged into a preset."""

    name: Name | None = None  # None: the dataset's
    model: Annotated[Text, Field(max_length=200)]
    dataset: Annotated[Text, Field(max_length=200)]
    prompt_set: Annotated[
        Annotated[Text, Field(max_length=200)] | None,
        Field(description="The few worked examples; left out for documents, which no question is asked of."),
    ] = None
    preset: PresetName = "star"
    config: ConfigOverrides = Field(default={}, description="Settings that differ from the preset's.")
    priority: Annotated[StrictInt, Field(ge=-100, le=100)] = 0  # higher goes first
    metadata: Metadata = Field(default={})
    budget: BudgetIn = Field(default=BudgetIn())
    webhook: JobWebhookIn | None = None  # of this job alone
    allow_overlap: StrictBool = Field(
        default=False, description="Run even though held-out questions of the dataset are also trained on."
    )
    dry_run: StrictBool = False  # check it, show what it would be and take, and make nothing
    probe: Annotated[StrictInt, Field(ge=FEWEST, le=MOST)] | None = Field(
        default=None,
        description="With dry_run: ask so many train questions, 8 tries each, to see how hard they are.",
    )
    return_equal: StrictBool = Field(
        default=False, description="Return an equal job that has not failed instead of creating a second one."
    )
    dedupe: StrictBool = Field(default=False, deprecated="Called return_equal now.")

    @property
    def wants_equal(self) -> bool:
        return self.return_equal or bool(self.__dict__["dedupe"])  # without the warning of a deprecated field


def resolve_config(kind: Kind, preset: str, overrides: Mapping[str, Any]) -> StarConfig:
    """Merge the overrides into the preset. Raises Invalid naming the fields at fault."""
    known = presets_of(kind)
    if preset not in (*known, "star"):  # star is what a request has that names none
        reason = f"There is no {preset!r}."
        if preset in (*PRESETS, *DOCUMENT_PRESETS):
            reason = f"{preset} is no preset for {'documents' if reads_documents(kind) else 'questions'}."
        raise Invalid.for_field("preset", reason, f"Use one of {listed(known)}.", code="unknown_preset")
    if overrides.get("kind", kind) != kind:
        reason = f"The dataset is of kind {kind}."
        raise Invalid.for_field(
            "config.kind", reason, "Leave it out: it follows from the dataset.", code="kinds_differ"
        )
    try:
        config = preset_config(preset, kind, overrides)
    except ValidationError as failure:
        errors = field_errors(failure.errors(), "config.", nearest)
        named = ", ".join(dict.fromkeys(error.field for error in errors))
        raise Invalid(
            f"The configuration is not valid: {named}.", code="invalid_config", errors=errors
        ) from failure
    if config.evaluation.without_thoughts:
        reason = "It is for evaluations of an adapter that thinks between tokens, which set it themselves."
        fix = "Leave it out; POST /v1/adapters/{id}/evaluate measures such an adapter both ways."
        raise Invalid.for_field("config.evaluation.without_thoughts", reason, fix, code="invalid_config")
    return config


def resolve_layout(session: Session, config: StarConfig, model: Model) -> StarConfig:
    """The settings with the layout that the model's jobs have. Raises Invalid where it does not fit them."""
    today = session.scalars(select(clock())).one().date()
    try:
        return settled(config, model, today)
    except ValidationError as failure:
        errors = field_errors(failure.errors(), "config.", nearest)
        raise Invalid(
            "The layout does not fit the settings.", code="invalid_config", errors=errors
        ) from failure
    except UnfitTemplate as unfit:
        raise _refused_layout(unfit) from unfit


def asked_prompts(config: StarConfig, row: PromptSetRow, model: Model) -> PromptSet:
    """The prompt set as the job shows it to its model. Raises Invalid where the layout cannot be had."""
    try:
        return asked_with(config, row, model)
    except UnfitTemplate as unfit:
        raise _refused_layout(unfit) from unfit


def _refused_layout(unfit: UnfitTemplate) -> Invalid:
    reason, _, fix = str(unfit).partition(": ")
    fix = fix or "Use layout completion."
    return Invalid.for_field(
        "config.layout", f"{reason.rstrip('.')}.", f"{fix[0].upper()}{fix[1:]}", code="layout_unfit"
    )


def listed(names: Mapping[str, Any] | list[str]) -> str:
    shown = list(names)[:20]
    return ", ".join(shown) + (", ..." if len(names) > len(shown) else "")
