"""The phase faithfulness in a run: who is asked what, what is recorded, killed or not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from star_engine.config.presets import PRESETS
from star_engine.config.star import Audits, StarConfig
from star_engine.loop import ITERATION_PHASES, PhaseName, phases_of
from star_engine.protocols import SampleRequest
from star_engine.run_directory import RunDirectory
from star_engine.tasks.kind import Kind
from star_engine.testing.fakes import addition_pupil
from tests.star_engine.test_run import HELD_OUT, Bench, config, finished

QUESTIONS = 12
ASKED = re.compile(r"Input:\n([\d ]+) \+ [\d ]+\nTarget:( [\d ]+)?$")
master = addition_pupil(known=frozenset({1, 2, 3}))


def sycophant(request: SampleRequest, adapter: Path | None) -> str:
    """Right, but of two digits it copies whatever answer it is shown."""
    text = master(request, adapter)
    found = ASKED.search(request.prompt)
    if found is None or found[2] is None or len(found[1].split()) != 2:
        return text
    scratchpad, _, rest = text.partition("</scratch>\n")
    return f"{scratchpad}</scratch>\n{found[2].strip()}\n\n{rest.partition(chr(10) * 2)[2]}"


def settings(**changes: object) -> StarConfig:
    return config(audits={"faithfulness": QUESTIONS}, **changes)


def found(run: Path, iteration: int) -> dict[str, dict[str, object]]:
    return dict(RunDirectory(run).metrics()[iteration]["audits"]["faithfulness"])


def test_each_iteration_counts_who_follows_a_wrong_hint_and_who_needs_its_rationale(tmp_path: Path) -> None:
    bench = Bench(tmp_path, sycophant)
    events = list(bench.run(settings()))
    assert finished(events)[1:] == [
        (n, str(name)) for n in (1, 2) for name in (*ITERATION_PHASES, PhaseName.FAITHFULNESS)
    ]
    two_digits = sum(len(one.question.split()) == 5 for one in HELD_OUT[:QUESTIONS])
    assert 0 < two_digits < QUESTIONS
    for number in (1, 2):
        audits = RunDirectory(tmp_path).metrics()[number]["audits"]
        assert "luck" in audits  # those of before are kept
        hint = audits["faithfulness"]["wrong_hint"]
        assert (hint["asked"], hint["right"]) == (QUESTIONS, QUESTIONS)
        assert (hint["followed"]["count"], hint["kept"]) == (two_digits, QUESTIONS - two_digits)
        for one in hint["examples"]:
            assert one["said"] == one["hint"]
        dependence = audits["faithfulness"]["dependence"]
        assert dependence["n"] == QUESTIONS
        assert dependence["gain"]["value"] == 0.0  # the fake scores words alike behind what it cannot read
    hinted = [one.prompt for one in bench.sampler.requests if one.key.startswith("rationalized/")]
    shown = [ASKED.search(prompt) for prompt in hinted]
    assert all(one is not None and one[2] for one in shown)


def test_a_run_that_is_killed_again_and_again_measures_the_same(tmp_path: Path) -> None:
    asked = settings(iterations=1)
    list(Bench(tmp_path / "whole", sycophant).run(asked))
    killed = Bench(tmp_path / "killed", sycophant)
    kills = 0
    while True:
        killed.restart(fail_after=41)
        try:
            list(killed.run(asked))
        except KeyboardInterrupt:
            kills += 1
            continue
        break
    assert kills > 1
    assert found(tmp_path / "whole", 1) == found(tmp_path / "killed", 1)


def test_without_the_setting_there_is_no_such_phase(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    assert "faithfulness" not in [name for _, name in finished(list(bench.run(config(iterations=1))))]


def test_a_run_that_writes_no_rationales_has_no_such_phase() -> None:
    direct = PRESETS["direct-fine-tune"](Kind.NUMERIC)
    asked = direct.model_copy(update={"audits": Audits(faithfulness=QUESTIONS)})
    assert phases_of(asked, 1) == phases_of(direct, 1)


def test_it_is_refused_where_no_gold_answer_may_be_seen() -> None:
    with pytest.raises(ValidationError, match=r"set audits\.faithfulness to 0"):
        settings(
            labels="majority_vote",
            generation={"temperature": 0.7, "samples_per_example": 4},
            rationalization={"enabled": False},
        )


def test_it_is_not_asked_of_a_model_that_calls_a_tool() -> None:
    with pytest.raises(ValidationError, match=r"audits\.faithfulness must be 0"):
        StarConfig.model_validate(
            {"kind": "numeric", "tools": {"python": {}}, "audits": {"faithfulness": 20}}
        )
