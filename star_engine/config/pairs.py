"""Learning from pairs of right and wrong tries: a part of StarConfig."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from star_engine.config.schedules import EpochsSchedule, Schedule
from star_engine.config.training_set import Source
from star_engine.section import Section

if TYPE_CHECKING:
    from star_engine.config.star import StarConfig


class PairRules(Section):
    """Which right and wrong tries at a question are paired."""

    per_example: Annotated[int, Field(ge=1, le=256)] = 8
    """Pairs of one question at most; no text is in many more of them than another."""
    negatives: Literal["wrong", "all"] = "wrong"
    """Wrong tries: those that state a wrong answer, or also those that state none or were cut off."""


class BestOfKStop(Section):
    """Ends a verifier's training by best of k, at every `training.checkpoint_every` steps.

    The tries at train questions whose pairs are not learned are ranked; the best state of the verifier is
    kept. The rate stays constant meanwhile, whatever `training.decay_share` is: nobody knows the last step.
    """

    k: Annotated[int, Field(ge=2, le=256)] = 16
    """Of how many tries the verifier takes the one it ranks first; all of a question that has fewer."""
    questions: Annotated[int, Field(ge=1, le=2000)] = 50
    """Held-out questions, with a right and a wrong try each, that are ranked at most."""
    patience: Annotated[int, Field(ge=1, le=100)] = 3
    """Times in a row that the training may be no better than at its best before it ends. Of two states with
    the same best of k the one whose best of fewer tries (2, 4, 8 ...) is higher on average is better."""


class TrainedVerifier(Section):
    """A verifier that is trained on the job's tries and ranks answers: V-STaR (arXiv 2402.06457)."""

    method: Literal["dpo", "yes_no"] = "dpo"
    """Learned by DPO on pairs (the paper), or as a yes or no behind each text, which is cheaper."""
    when: Literal["end", "every_iteration"] = "end"
    """Once after the last iteration, on the tries of all of them (the paper), or in every iteration."""
    reference: Literal["base", "first_iteration"] = "base"
    """Model that the DPO verifier starts from and is compared with: the base model, or iteration 1's."""
    pairs: PairRules = PairRules()
    """Which tries are paired."""
    held_out: Annotated[float, Field(ge=0, le=0.5)] = 0.05
    """Share of the train questions whose pairs are not learned: the verifier is measured on them."""
    beta: Annotated[float, Field(gt=0, le=10)] = 0.1
    """Beta of DPO: how far the verifier may move from its reference."""
    nll: Annotated[float, Field(ge=0, le=100)] = 0.0
    """Weight of the right text's own negative log-likelihood per token; 0: DPO alone."""
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 1e-4
    """Peak learning rate of AdamW."""
    batch_size: Annotated[int, Field(ge=1, le=4096)] = 16
    """Pairs per optimizer step."""
    schedule: Schedule = EpochsSchedule(epochs=1, max_steps=2000)
    """How many optimizer steps a training of the verifier takes; with `stop`, at most."""
    stop: BestOfKStop | None = None
    """End the training by best of k on held-out train questions; null: after all steps of the schedule."""
    score: Literal["likelihood", "likelihood_per_token", "reward"] = "likelihood"
    """What ranks answers: the verifier's likelihood (the paper), the same per token, or the DPO reward.

    All three are measured; this one is the job's own.
    """


class PreferenceTraining(Section):
    """The generator learns pairs of right and wrong tries: iterative RPO (arXiv 2404.19733)."""

    pairs: PairRules = PairRules(per_example=10)
    """Which of the iteration's tries are paired; the right one is always a row of its training set."""
    beta: Annotated[float, Field(gt=0, le=10)] = 0.1
    """Beta of DPO: how far the model may move from the one that the iteration starts from."""
    nll: Annotated[float, Field(ge=0, le=100)] = 1.0
    """Weight of the right text's own negative log-likelihood per token; without it right texts fall too."""


def check_pairs(config: StarConfig) -> None:
    """Raises ValueError for settings under which there is nothing to pair, or no verifier to ask."""
    _check_preference(config)
    _check_quantization(config)
    test_time = config.evaluation.test_time
    if config.trained_verifier is None:
        if test_time is not None and test_time.scorer == "verifier":
            raise ValueError(
                "evaluation.test_time.scorer names the job's own verifier and there is none; set "
                "trained_verifier, or name another job's verifier by its id"
            )
        return
    if config.baselines_only or config.training_set.source is not Source.RATIONALES:
        raise ValueError(
            "trained_verifier learns from the model's own tries, and there are none; set it to null"
        )
    if config.trained_verifier.stop is not None and not config.trained_verifier.held_out:
        raise ValueError(
            "trained_verifier.stop ranks the tries at held-out train questions, and "
            "trained_verifier.held_out is 0; set it to 0.05, or trained_verifier.stop to null"
        )
    if config.generation.samples_per_example < 2 and config.iterations == 1:
        raise ValueError(
            "a question's only try is never both right and wrong; set generation.samples_per_example to 2 or "
            "more, or trained_verifier to null"
        )


def _check_quantization(config: StarConfig) -> None:
    """Pairs have their reference from the sampler, which has the base model as it is."""
    on_pairs = config.preference is not None or config.trained_verifier is not None
    if config.training.quantization is not None and on_pairs:
        raise ValueError(
            "pairs are compared with scores of the base model as it is, and training.quantization trains "
            "over it in 4 bits; set training.quantization to null, or preference and trained_verifier"
        )


def _check_preference(config: StarConfig) -> None:
    if config.preference is None:
        return
    for unfit, fix in (
        (
            config.trained_verifier is not None,
            "set trained_verifier to null: an iteration has one set of pairs",
        ),
        (config.baselines_only, "set baselines_only to false"),
        (config.training_set.source is not Source.RATIONALES, "set training_set.source to rationales"),
        (config.generation.samples_per_example < 2, "set generation.samples_per_example to 2 or more"),
        (config.training_set.window != 1, "set training_set.window to 1: pairs are of the newest tries"),
        (bool(config.training_set.mix), "leave training_set.mix empty: its rows have no wrong twin"),
        (config.training.loss != "completion", "set training.loss to completion"),
    ):
        if unfit:
            raise ValueError(f"preference learns pairs of an iteration's own tries; {fix}")
