"""Models that compute while they reason."""

from __future__ import annotations

from star_engine.config.preset_families.paper_steps import paper_training
from star_engine.config.schedules import EpochsSchedule
from star_engine.config.star import Generation, Rationalization, StarConfig
from star_engine.config.tools import HintGroup, Hints, PythonTool, Tools
from star_engine.config.training_set import TrainingSetOptions
from star_engine.tasks.kind import Kind


def start(kind: Kind) -> StarConfig:
    """START (Li et al. 2025, arXiv 2503.04625): hints make the model call Python, then it does so unasked.

    Iteration 1 is Hint-RFT: where 16 tries fail, a hint is put in before the answer, and what is then right
    trains the base model. Iteration 2 is RFT without hints, from the base model again, at most one text of a
    question. The paper's: T = 0.6, top-p 0.95, 16 tries, 6 calls, 3 epochs. Its first try is greedy and
    alone; here all 16 must fail. It stops where the model never calls the tool of its own accord.
    """
    code = kind is Kind.CODE
    return StarConfig(
        kind=kind,
        iterations=2,
        training=paper_training(EpochsSchedule(epochs=3)),
        generation=Generation(temperature=0.6, top_p=0.95, samples_per_example=16, max_tokens=1024),
        rationalization=Rationalization(enabled=False),
        tools=Tools(python=PythonTool(runtime="cpython" if code else "embedded", max_calls=6)),
        hints=Hints(groups=(HintGroup.GENERAL, HintGroup.DEBUG)) if code else Hints(),
        training_set=TrainingSetOptions(
            filters=("hint_markers", "answer_only", "repetition", "tool_fake", "all_calls_failed"),
            max_per_example=1,
        ),
    )
