"""Thoughts between the tokens of ordinary text. Presets of documents, which no question is asked of."""

from __future__ import annotations

from star_engine.config.evaluation import Evaluation
from star_engine.config.quiet_star import OuterLoop, QuietStarMethod, Thoughts, ThoughtStage
from star_engine.config.star import StarConfig
from star_engine.tasks.kind import Kind


def quiet_star(kind: Kind) -> StarConfig:
    """Quiet-STaR (Zelikman et al. 2024, arXiv 2403.09629): a thought before every token of documents.

    Thoughts of 12 tokens, 4 tokens predicted after each, 2 thoughts at each position, 8 windows of 256 tokens
    a step, 100 steps, as in the released code. LoRA of rank 16 at 1e-4 is ours: there all weights learn at
    1e-6. One iteration; more go on from it, as segments of one training.
    """
    return _on_documents(kind, 1, QuietStarMethod())


def fast_quiet_star(kind: Kind) -> StarConfig:
    """Fast Quiet-STaR (2025, after arXiv 2403.09629): thoughts get shorter, and at last there are none.

    Four segments of 150 steps: thoughts of 16 tokens with 8 predicted, 12 with 4, 8 with 4, then 300 steps of
    plain next tokens, so that the model reads without thoughts what it learned with them. Each goes on from
    the adapter before.
    """
    stages = (
        ThoughtStage(from_iteration=2, thought_tokens=12, ahead_tokens=4),
        ThoughtStage(from_iteration=3, thought_tokens=8),
        ThoughtStage(from_iteration=4, thoughts=Thoughts.OFF, steps=300),
    )
    method = QuietStarMethod(thought_tokens=16, ahead_tokens=8, steps=150, curriculum=stages)
    return _on_documents(kind, 4, method)


def _on_documents(kind: Kind, iterations: int, method: QuietStarMethod) -> StarConfig:
    return StarConfig(
        kind=kind,
        method=OuterLoop.QUIET_STAR,
        quiet_star=method,
        iterations=iterations,
        evaluation=Evaluation(baselines=()),
    )


# What a job on documents is compared with: its own settings, and another content of the thoughts.
CONTROLS: dict[str, Thoughts] = {
    "random-thoughts": Thoughts.RANDOM,
    "pauses": Thoughts.PAUSE,
    "continued-training": Thoughts.OFF,
}


def with_thoughts(config: StarConfig, thoughts: Thoughts) -> StarConfig:
    """The control of a job on documents: as many steps on the same windows, thinking `thoughts` throughout.

    A curriculum keeps its lengths; ValueError where the job is none on documents.
    """
    if config.quiet_star is None:
        raise ValueError("Only jobs on documents have controls of what is thought.")
    stages = tuple(one.model_copy(update={"thoughts": None}) for one in config.quiet_star.curriculum)
    method = config.quiet_star.model_copy(update={"thoughts": thoughts, "curriculum": stages})
    return StarConfig.model_validate({**config.model_dump(), "quiet_star": method.model_dump()})
