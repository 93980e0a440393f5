"""A run that finds its temperature: what its probes are counted as."""

from __future__ import annotations

from pathlib import Path

from star_engine.loop import PhaseName
from star_engine.run_directory import RunDirectory
from star_engine.sampling.rationales import Route
from tests.star_engine.test_run import TRAIN, Bench, config


def test_probes_that_become_tries_are_counted_once(tmp_path: Path) -> None:
    asked = config(
        iterations=1,
        controller={"temperatures": [0.5, 1.0], "probe_examples": len(TRAIN), "rows_wanted": 1},
        generation={"temperature": 0.7, "samples_per_example": 2},
        rationalization={"enabled": False},
    )
    events = list(Bench(tmp_path).run(asked))
    sampled = [
        event.facts for event in events if event.name == "progress" and event.phase is PhaseName.SAMPLE
    ]
    of_examples = [facts["done"] for facts in sampled if facts["unit"] == "examples"]
    assert of_examples == sorted(of_examples)
    assert (of_examples[0], of_examples[-1]) == (0, len(TRAIN))
    routes = [one.key.route for one in RunDirectory(tmp_path).rationales(1)]
    assert routes.count(Route.PROBE) == 2 * routes.count(Route.GENERATED) == 4 * len(TRAIN)
