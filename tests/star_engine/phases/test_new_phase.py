"""What it takes to add a phase: a Phase, its place in the table, and its turn in the loop."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from star_engine.config.star import StarConfig
from star_engine.loop import PhaseName
from star_engine.phases import table
from star_engine.phases.phase import Ask, Context, Phase, Progress, Work
from star_engine.protocols import Completion, SampleRequest, SamplingParams
from star_engine.record import Counts
from tests.star_engine.test_run import Bench, config, finished


class Greeting:
    """A plan with one request."""

    def __init__(self) -> None:
        self.queue = deque([SampleRequest("hello", "Say hello.")])
        self.params = SamplingParams(max_tokens=4)

    def finish(self, completion: Completion) -> str:
        return completion.text


def test_a_new_closing_phase_runs_after_the_last_iteration_and_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[str] = []

    def run(context: Context) -> Work:
        def hear(batch: Sequence[str]) -> Progress:
            heard.extend(batch)
            return Progress(len(heard), 1, "greetings")

        yield Ask(Greeting(), context.iteration, hear)

    def metrics(config: StarConfig, counts: Counts) -> dict[str, Any]:
        return {"greetings": len(heard), "of": counts.selected()}

    name = PhaseName.TRIAL  # a name that a run in one process has no phase for
    monkeypatch.setattr("star_engine.loop.closing_phases", lambda _config: (name,))
    monkeypatch.setattr(table, "PHASES", {**table.PHASES, name: Phase(name, run, metrics=metrics)})
    monkeypatch.setattr("star_engine.run.PHASES", table.PHASES)
    bench = Bench(tmp_path)
    events = list(bench.run(config(iterations=1)))
    assert finished(events)[-1] == (1, "trial")
    assert len(heard) == 1
    assert bench.sampler.adapter == bench.directory / "iteration-1" / "adapter"
    last = next(e.facts for e in events if e.name == "phase_finished" and e.phase is name)
    assert last == {"greetings": 1, "of": 36}
    assert list(bench.run(config(iterations=1)))[-1].name == "stopped"
    assert len(heard) == 1
