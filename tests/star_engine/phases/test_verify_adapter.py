"""An adapter whose greedy texts part in PEFT and in the sampler is judged by scores."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from star_engine.adapters.probe import PROBE_TOKENS
from star_engine.protocols import BadAdapter, Completion, SampleRequest, SamplingParams, Score, ScoreRequest
from star_engine.testing.fakes import RecordingTrainer, ScriptedSampler
from tests.star_engine.test_run import Bench, config

SHIFT, ROUNDING = 0.05, 0.01  # nats a token: by what the adapter moves scores, and what engines differ by


def moved(scores: Iterable[Score], by: float) -> Iterator[Score]:
    return (Score(one.key, tuple(value - by for value in one.logprobs)) for one in scores)


class MovingTrainer(RecordingTrainer):
    def score_trained(self, adapter: Path | None, requests: Sequence[ScoreRequest]) -> list[Score]:
        scores = super().score_trained(adapter, requests)
        return scores if adapter is None else list(moved(scores, SHIFT))


class OtherTokens(ScriptedSampler):
    """Writes other tokens than PEFT where its adapter is probed, as near ties in bfloat16 may make it."""

    shift = SHIFT + ROUNDING

    def stream(self, queue: deque[SampleRequest], params: SamplingParams) -> Iterator[Completion]:
        for completion in super().stream(queue, params):
            probed = self.adapter is not None and params.max_tokens == PROBE_TOKENS
            yield replace(completion, text="tied") if probed else completion

    def score(self, requests: Sequence[ScoreRequest]) -> Iterator[Score]:
        return moved(super().score(requests), self.shift if self.adapter is not None else 0.0)


class NotApplied(OtherTokens):
    """Scores as the base model does whatever adapter it was given."""

    shift = 0.0


def run(
    folder: Path,
    kind: type[ScriptedSampler],
    trainer: type[RecordingTrainer] = MovingTrainer,
    quantization: str | None = None,
) -> dict[str, Any]:
    bench = Bench(folder)
    bench.sampler, bench.trainer = kind(bench.script), trainer(bench.script)
    plain = config(iterations=1)
    training = plain.training.model_copy(update={"quantization": quantization})
    list(bench.run(plain.model_copy(update={"training": training})))
    [manifest] = folder.glob("**/adapter/manifest.json")
    found: dict[str, Any] = json.loads(manifest.read_text())["verification"]
    return found


def test_near_ties_are_settled_by_scores(tmp_path: Path) -> None:
    found = run(tmp_path, OtherTokens)
    assert found["agreement"] < 0.5
    assert found["score_difference"] == pytest.approx(ROUNDING)


def test_an_adapter_that_is_not_applied_is_refused_by_scores_too(tmp_path: Path) -> None:
    with pytest.raises(BadAdapter, match="does not apply"):
        run(tmp_path, NotApplied)


class OverFourBits(MovingTrainer):
    """Trains over a base model in another form, whose scores are as far from the sampler's as these."""

    def score_trained(self, adapter: Path | None, requests: Sequence[ScoreRequest]) -> list[Score]:
        return list(moved(super().score_trained(adapter, requests), 0.4))


def test_an_adapter_that_was_trained_over_four_bits_is_judged_by_what_it_changes(tmp_path: Path) -> None:
    found = run(tmp_path, OtherTokens, OverFourBits, "nf4")
    assert found["score_difference"] == pytest.approx(ROUNDING)
    with pytest.raises(BadAdapter, match="score texts differently"):
        run(tmp_path / "plain", OtherTokens, OverFourBits)
    with pytest.raises(BadAdapter, match="does not apply"):
        run(tmp_path / "other", NotApplied, OverFourBits, "nf4")


def test_card_and_manifest_say_that_the_base_model_was_in_four_bits(tmp_path: Path) -> None:
    run(tmp_path / "four", ScriptedSampler, quantization="nf4")
    run(tmp_path / "plain", ScriptedSampler)
    cards = [(next((tmp_path / name).glob("**/adapter/README.md"))).read_text() for name in ("four", "plain")]
    said = "| trained over | the base model in 4 bits (QLoRA, nf4)"
    assert [said in card for card in cards] == [True, False]
    manifest = json.loads(next((tmp_path / "four").glob("**/adapter/manifest.json")).read_text())
    assert manifest["training"]["quantization"] == "nf4"


def test_where_texts_agree_nothing_is_scored(tmp_path: Path) -> None:
    assert run(tmp_path, ScriptedSampler)["score_difference"] is None


def test_the_scorer_is_asked_for_what_peft_wrote(tmp_path: Path) -> None:
    asked: list[ScoreRequest] = []

    class Listening(OtherTokens):
        def score(self, requests: Sequence[ScoreRequest]) -> Iterator[Score]:
            asked.extend(requests)
            return super().score(requests)

    run(tmp_path, Listening)
    assert asked
    assert all(one.text.completion and not one.eos for one in asked)
