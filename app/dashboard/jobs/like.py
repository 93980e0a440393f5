"""A job that was made, as the values of the form for a new one, where everything can be changed."""

from __future__ import annotations

import json

from app.jobs.views import JobOut
from star_engine.config.preset_families.overlay import changes
from star_engine.config.presets import presets_of


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
