"""A reading: the answer behind its rationale, cut after each sentence."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from star_engine.config.star import StarConfig
from star_engine.diagnostics.faithfulness import MAX_SENTENCES, answers_by_sentence
from star_engine.loop import ITERATION_PHASES, PhaseName, phases_of
from star_engine.protocols import Score, ScoreRequest
from star_engine.run_directory import RunDirectory
from star_engine.sampling.answers import judge_text
from star_engine.sampling.rationales import Route
from star_engine.tasks.examples import Example, PromptSet
from star_engine.tasks.kind import Kind
from star_engine.testing.fakes import ScriptedSampler, addition_pupil
from tests.star_engine.test_run import Bench, config

EXAMPLE = Example("e", "Two pens and three more?", "5")
CONFIG = StarConfig(kind=Kind.NUMERIC)
TRIES = 5


def cuts(text: str) -> dict[str, str]:
    """By what is kept of the text: what is asked, with a bar before what is scored."""
    answer = judge_text(CONFIG, EXAMPLE, text, "stop")
    assert answer.verdict == "correct"
    found = answers_by_sentence(CONFIG, PromptSet(Kind.NUMERIC, ()), EXAMPLE, "Q: ...\nA:", answer)
    return {text[:end]: f"{one.prompt}|{one.completion}" for end, one in found.items()}


def test_the_answer_stands_behind_none_and_each_sentence_of_its_rationale() -> None:
    assert cuts("There are 2 pens. Dr. Who brings 3. That is 5. #### 5") == {
        "": "Q: ...\nA: ####| 5",
        "There are 2 pens.": "Q: ...\nA: There are 2 pens. ####| 5",
        "There are 2 pens. Dr. Who brings 3.": "Q: ...\nA: There are 2 pens. Dr. Who brings 3. ####| 5",
        "There are 2 pens. Dr. Who brings 3. That is 5. ": (
            "Q: ...\nA: There are 2 pens. Dr. Who brings 3. That is 5. ####| 5"
        ),
    }


def test_an_answer_without_a_rationale_is_not_read() -> None:
    assert cuts("#### 5") == {}


def test_of_many_sentences_some_are_left_out_and_never_the_last() -> None:
    text = "".join(f"Step {number} it is. " for number in range(100)) + "#### 5"
    kept = [len(one) for one in cuts(text)]
    assert kept[0] == 0
    assert kept[-1] == len(text) - len("#### 5")
    assert MAX_SENTENCES / 2 < len(kept) <= MAX_SENTENCES + 2
    assert kept == sorted(set(kept))


class Reader(ScriptedSampler):
    """Finds an answer the likelier the more of the rationale stands before it."""

    def score(self, requests: object) -> object:  # type: ignore[override]
        assert isinstance(requests, list)
        return (self._of(one) for one in requests)

    @staticmethod
    def _of(request: ScoreRequest) -> Score:
        assert not request.eos
        rationale = request.text.prompt.rpartition("Target:")[2]
        return Score(request.key, (-1.0 / (1 + len(rationale)),))


class ReadBench(Bench):
    def restart(self, fail_after: int | None = None) -> None:
        super().restart(fail_after)
        self.sampler = Reader(
            self.script, batch=4, order="shuffled", before_completion=lambda _key: self._tick()
        )


def settings() -> StarConfig:
    return config(iterations=1, audits={"sentences": TRIES})


def test_right_tries_of_the_iteration_are_read_to_their_end(tmp_path: Path) -> None:
    list(ReadBench(tmp_path).run(settings()))
    directory = RunDirectory(tmp_path)
    tries = {one.key: one for one in directory.rationales(1)}
    found = directory.readings(1)
    assert len(found) == TRIES == len({key.example_id for key in found})
    for key, points in found.items():
        assert tries[key].verdict == "correct"
        places, logprobs = [end for end, _ in points], [logprob for _, logprob in points]
        assert places[0] == 0
        assert 0 < places[-1] <= len(tries[key].text)
        assert len(places) > 2  # the lines of a scratchpad
        assert logprobs == sorted(logprobs)
        assert logprobs[0] < logprobs[-1]
    assert "faithfulness" not in directory.metrics()[1]["audits"]  # nobody was shown a wrong hint


def test_a_run_that_is_killed_again_and_again_reads_the_same(tmp_path: Path) -> None:
    list(ReadBench(tmp_path / "whole").run(settings()))
    killed = ReadBench(tmp_path / "killed")
    kills = 0
    while True:
        killed.restart(fail_after=31)
        try:
            list(killed.run(settings()))
        except KeyboardInterrupt:
            kills += 1
            continue
        break
    assert kills > 1
    whole, again = (RunDirectory(tmp_path / name).readings(1) for name in ("whole", "killed"))
    assert whole == again


def test_hinted_tries_are_read_behind_the_bare_question(tmp_path: Path) -> None:
    asked: list[str] = []

    class Watched(Reader):
        def score(self, requests: object) -> object:  # type: ignore[override]
            assert isinstance(requests, list)
            asked.extend(one.text.prompt for one in requests)
            return super().score(requests)

    bench = ReadBench(tmp_path, addition_pupil())
    bench.sampler = Watched(bench.script)
    list(bench.run(config(iterations=1, audits={"sentences": 1000})))
    directory = RunDirectory(tmp_path)
    answers = {one.key.example_id: one.extracted for one in directory.rationales(1)}
    hinted = [key for key in directory.readings(1) if key.route is Route.RATIONALIZED]
    assert hinted
    assert not any(f"Target: {answers[key.example_id]}\n" in prompt for key in hinted for prompt in asked)


def test_it_has_the_phase_of_faithfulness_and_none_where_it_is_off() -> None:
    assert phases_of(settings(), 1) == (*ITERATION_PHASES, PhaseName.FAITHFULNESS)
    assert phases_of(config(), 1) == ITERATION_PHASES


def test_it_is_refused_where_no_gold_answer_may_be_seen_and_with_tools() -> None:
    tried = {"temperature": 0.7, "samples_per_example": 4}
    with pytest.raises(ValidationError, match=r"set audits\.sentences to 0"):
        config(
            audits={"sentences": 1},
            labels="majority_vote",
            generation=tried,
            rationalization={"enabled": False},
        )
    with pytest.raises(ValidationError, match=r"audits\.sentences must be 0"):
        StarConfig.model_validate({"kind": "numeric", "tools": {"python": {}}, "audits": {"sentences": 2}})
