"""A job that was made, as the values of the form for a new one, where everything can be changed."""

from __future__ import annotations

import json
from collections.abc import Sequence

from app.jobs.views import JobOut
from app.results.quality.advice import AdviceOut
from star_engine.config.preset_families.overlay import changes, laid_over
from star_engine.config.presets import presets_of


def advised(job: JobOut, found: Sequence[AdviceOut], code: str) -> JobOut:
    """The job with the change that this rule of the coach proposes; as it is where the rule says nothing."""
    change = next((one.settings for one in found if one.code == code), {})
    return job.model_copy(update={"config": laid_over(job.config, change)})


def values_like(job: JobOut) -> dict[str, str]:
    """The job's model, data and name, the preset nearest to its settings, and what differs from that."""
    preset, differing = _nearest(job)
    values = {"model": job.model, "dataset": job.dataset, "prompt_set": job.prompt_set, "preset": preset}
    settings = {name: value for name, value in differing.items() if name != "kind"}
    return {
        **values,
        "name": job.name,
        "priority": str(job.priority) if job.priority else "",
        "settings": json.dumps(settings, indent=2, ensure_ascii=False) if settings else "",
    }


def _nearest(job: JobOut) -> tuple[str, dict[str, object]]:
    """The preset from which the fewest settings differ; of equal ones the first."""
    kind = job.config["kind"]
    found = {
        name: changes(preset(kind).model_dump(mode="json"), job.config)
        for name, preset in presets_of(kind).items()
    }
    name = min(found, key=lambda one: len(json.dumps(found[one])))
    return name, found[name]
