"""Of several texts the one that a verifier scores highest, as an evaluation scores them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.settings import Settings
from star_engine.evaluation.candidates import score_distinct
from star_engine.evaluation.yes_no import score_yes_no
from star_engine.gpu.transformers_sampler import TransformersSampler
from star_engine.protocols import TrainingText
from tests.factories import World
from tests.star_engine.gpu.conftest import make_adapter, tiny_model  # noqa: F401 - a fixture
from tests.worker.serving.test_engine import running
from tests.worker.serving.test_real_vllm import TOKEN, Client, add_adapter, world  # noqa: F401 - a fixture
from worker.serving.conversations import Conversations
from worker.serving.engine import Engine
from worker.serving.http import create_app
from worker.serving.meter import Meter
from worker.serving.service import Service
from worker.serving.tools import Tools
from worker.serving.verifiers import Verifiers

ASKED: dict[str, Any] = {
    "prompt": "0 1\n= 2\na =",
    "temperature": 1.0,
    "seed": 3,
    "n": 4,
    "max_tokens": 12,
    "select": "verifier",
}


class Bench:
    """A served generator, two verifiers with the same weights, and the scorer of an evaluation."""

    def __init__(self, world: World, model: Path, folder: Path, client: Client) -> None:  # noqa: F811
        judge = make_adapter(model, folder / "judge", seed=2)
        self.client = client
        self.generator = add_adapter(world, make_adapter(model, folder / "generator", seed=0))
        self.likelihood, self.yes_no = (add_adapter(world, judge, method) for method in ("dpo", "yes_no"))
        self.scorer = TransformersSampler(model, max_length=400)
        self.scorer.use(judge)

    def ask(self, verifier: str, **more: Any) -> list[dict[str, Any]]:
        return self.client.choose(self.generator, verifier, **ASKED | more)


@pytest.fixture
def bench(world: World, tiny_model: Path, tmp_path: Path) -> Iterator[Bench]:  # noqa: F811
    context = world.worker_context("serving:1")
    engine, layouts = Engine(context), Conversations(context)
    service = Service(engine, layouts, Verifiers(context, layouts), Meter(), Tools(Settings()), TOKEN)
    with running(engine):
        yield Bench(world, tiny_model, tmp_path, Client(create_app(service)))


def test_best_text_is_chosen_by_the_scores_of_an_evaluation(bench: Bench) -> None:
    for verifier in (bench.likelihood, bench.yes_no):
        (choice,) = bench.ask(verifier)
        told = choice["selection"]
        assert (told["by"], told["verifier"], told["of"]) == ("verifier", verifier, 4)
        assert told["score"] == max(told["scores"])
        assert len({*told["scores"]}) == 4
        text = TrainingText(str(ASKED["prompt"]), choice["text"].rstrip())
        if verifier == bench.yes_no:
            (found,) = score_yes_no(bench.scorer, [(0, text)])
        else:
            (found,) = score_distinct(bench.scorer, [(0, text, True)])
        assert told["score"] == pytest.approx(found[0].total, abs=1e-3)


def test_each_prompt_has_its_own_choice_and_texts_that_do_not_fit_have_no_score(bench: Bench) -> None:
    long = "1" * 398 + "="  # with a token behind it there is no room for the end
    short, full = bench.ask(bench.likelihood, prompt=[ASKED["prompt"], long], n=2)
    assert (short["index"], full["index"]) == (0, 1)
    assert None not in short["selection"]["scores"]
    assert full["selection"]["scores"] == [None, None]
    assert full["selection"]["score"] is None
