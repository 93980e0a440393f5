"""The job form: its fields, its values as an API request body, and errors shown next to their fields."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from time import monotonic, sleep
from typing import Annotated, Any

from fastapi import Depends, Request
from pydantic import TypeAdapter, ValidationError
from starlette.datastructures import FormData

from app.dashboard.wording import in_the_form
from app.database import new_id
from app.errors import Conflict, Invalid, Problem
from app.http.problems import field_errors
from app.http.schemas import JsonObject
from app.jobs.create import Made
from app.jobs.views import JobOut
from star_engine.config.presets import laid_over


@dataclass(frozen=True, slots=True)
class Setting:
    """A field of the form; its name is the setting's path in the request."""

    name: str
    label: str
    note: str = ""
    options: tuple[str, ...] = ()  # a choice instead of something typed

    def choices(self, usual: str) -> list[tuple[str, str]]:
        """Return value and text of each option; the empty one means the default."""
        return [("", usual), *((one, one) for one in self.options)]


GROUPS: Mapping[str, tuple[Setting, ...]] = {
    "Loop": (
        Setting("config.iterations", "Iterations"),
        Setting("config.examples_per_iteration", "Examples per iteration", "empty: the whole train split"),
        Setting("config.stop.patience", "Patience", "iterations without a better accuracy, then it stops"),
        Setting("config.seed", "Seed"),
    ),
    "Prompts": (
        Setting("config.layout", "Layout", "empty: chat for chat models", ("chat", "completion")),
        Setting("config.chat.system", "System prompt", "in the chat layout"),
        Setting("config.chat.thinking", "Thinking", "where the chat template has a switch", ("on", "off")),
    ),
    "Generation": (
        Setting("config.generation.samples_per_example", "Tries per example"),
        Setting("config.generation.temperature", "Temperature"),
        Setting("config.generation.max_tokens", "Tokens per rationale at most"),
        Setting(
            "config.rationalization.enabled",
            "Rationalization",
            "where generation failed, with the answer as a hint",
            ("true", "false"),
        ),
    ),
    "Training": (
        Setting("config.training.learning_rate", "Learning rate"),
        Setting("config.training.batch_size", "Batch size"),
        Setting("config.training.lora.rank", "LoRA rank"),
        Setting("config.training.start_from", "Start from", "the paper: base", ("base", "previous")),
    ),
    "Evaluation": (
        Setting("config.evaluation.split", "Split", "", ("validation", "test")),
        Setting("config.evaluation.max_examples", "Held-out examples at most"),
    ),
}
SHOWN = frozenset(setting.name for group in GROUPS.values() for setting in group)
# Fields beside the settings whose values are JSON.
NUMBERS = frozenset({"priority", "budget.gpu_seconds", "from_iteration", "allow_overlap"})
KEPT = ("Prompts", "Evaluation")  # by a fork
FORKED = {name: group for name, group in GROUPS.items() if name not in KEPT}
SAME_SECONDS = 5.0  # for which the second press of a button waits for the first


@dataclass(frozen=True, slots=True)
class Filled:
    """What the form shows: the values as they were typed, and what is wrong with them."""

    values: Mapping[str, str]
    baselines: tuple[str, ...] = ()
    errors: Mapping[str, list[str]] = field(default_factory=dict)
    problem: Problem | None = None  # where no field shown is at fault

    @property
    def key(self) -> str:
        """The Idempotency-Key: pressing twice makes one job. New where something was refused."""
        return (self.values.get("key") if not (self.errors or self.problem) else None) or new_id("form")


async def _sent(request: Request) -> FormData:
    return await request.form(max_files=0)


Sent = Annotated[FormData, Depends(_sent)]


def filled(sent: FormData, refused: Problem | None = None) -> Filled:
    """The form again, as it was sent."""
    values = {name: value for name, value in sent.items() if isinstance(value, str)}
    chosen = tuple(str(one) for one in sent.getlist("baselines"))
    if refused is None:
        return Filled(values, chosen)
    beside: defaultdict[str, list[str]] = defaultdict(list)
    rest: list[str] = []
    for error in refused.errors:
        place = _place(error.field, values)
        text = f"{error.reason} {in_the_form(error.fix)}"
        text = text if place == error.field else f"{error.field}: {text}"
        (beside[place] if place else rest).append(text)
    return Filled(values, chosen, dict(beside), refused if rest or not refused.errors else None)


def _place(name: str, values: Mapping[str, str]) -> str | None:
    """Return the field that an error is shown next to: its own, the JSON for other settings, or none."""
    if name in SHOWN or name in values or name == "baselines":
        return name
    return "settings" if name.startswith("config.") else None


def body(sent: FormData, fields: Iterable[str]) -> dict[str, Any]:
    """The request as JSON: of `fields` what was filled in, and the settings. Raises Invalid."""
    given = {name: str(sent[name]).strip() for name in fields if str(sent.get(name, "")).strip()}
    made: dict[str, Any] = {"config": _settings(str(sent.get("settings", "")))}
    for name in SHOWN:
        if text := str(sent.get(name, "")).strip():
            made = laid_over(made, _nested(name.split("."), _value(text)))
    for name, text in given.items():
        made = laid_over(made, _nested(name.split("."), _value(text) if name in NUMBERS else text))
    return made


def checked(model: type[Any], given: Mapping[str, Any]) -> Any:
    """Read the form as the API reads a body. Raises Invalid."""
    try:
        return model.model_validate(given)
    except ValidationError as failure:
        errors = field_errors([{**error, "loc": ("body", *error["loc"])} for error in failure.errors()])
        raise Invalid("Some fields of the form are not valid.", errors=errors) from failure


def once(make: Callable[[], Made]) -> JobOut:
    """The second press of a button is answered with what the first one makes."""
    until = monotonic() + SAME_SECONDS
    while True:
        try:
            return make().job
        except Conflict as busy:
            if busy.code != "idempotency_in_flight" or monotonic() > until:
                raise
            sleep(0.1)


def shown_setting(config: Mapping[str, Any], name: str) -> str:
    """What a setting is, such as config.training.lora.rank, in words of the form."""
    found: Any = config
    for part in name.split(".")[1:]:
        found = found.get(part) if isinstance(found, dict) else None
    return "none" if found is None else str(found).lower()


def _settings(text: str) -> dict[str, Any]:
    if not text.strip():
        return {}
    try:
        read: dict[str, Any] = TypeAdapter(JsonObject).validate_python(json.loads(text))
    except ValueError as failure:
        reason = f"This is not a JSON object ({failure})."[:300]
        fix = 'Write it as {"training": {"warmup_steps": 10}}.'
        raise Invalid.for_field("settings", reason, fix, detail=reason) from failure
    return read


def _nested(path: list[str], value: Any) -> dict[str, Any]:
    return {path[0]: value if len(path) == 1 else _nested(path[1:], value)}


def _value(text: str) -> Any:
    """A number or a truth value; anything else as text, for the API to refuse."""
    try:
        read = json.loads(text)
    except ValueError:
        return text
    return read if isinstance(read, int | float | bool) else text
