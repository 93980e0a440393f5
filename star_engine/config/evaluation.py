"""What a job is measured on: greedy accuracy, and many answers to each question."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from star_engine.section import Section

TestTimeMethod = Literal["pass", "pass_all", "majority", "best_of"]


class TestTime(Section):
    """Many answers to each held-out question: by the base model first, by the last adapter at the end."""

    __test__ = False  # pytest takes it for a test otherwise

    samples: Annotated[int, Field(ge=2, le=256)] = 16
    """Answers to each held-out question; every smaller k is computed from the same ones."""
    temperature: Annotated[float, Field(gt=0, le=2)] = 0.7
    """Temperature that they are sampled with."""
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Nucleus sampling of them."""
    ks: Annotated[tuple[Annotated[int, Field(ge=1, le=256)], ...], Field(max_length=32)] = ()
    """How many answers accuracy is computed for; empty: 1, 2, 4 and so on up to samples."""
    methods: Annotated[tuple[TestTimeMethod, ...], Field(min_length=1)] = (
        "pass",
        "pass_all",
        "majority",
        "best_of",
    )
    """What is computed: any right (pass@k), all right (pass^k), majority vote (maj@k), the best by a scorer.

    best_of always has three scorers: the answering model's own likelihood, the shortest answer, a random one.
    """
    scorer: Annotated[str, Field(pattern=r"^(verifier|generator|shortest|random|adp_[0-9A-Za-z]+)$")] = (
        "generator"
    )
    """Who ranks for best_of beside these: verifier (the job's own), or the id of another job's verifier."""

    @model_validator(mode="after")
    def _drawn_from_samples(self) -> Self:
        if self.ks and max(self.ks) > self.samples:
            raise ValueError(
                f"ks names {max(self.ks)} answers of {self.samples}; raise samples or leave it out"
            )
        if list(self.ks) != sorted(set(self.ks)):
            raise ValueError("ks ascends and names each number once")
        return self

    @model_validator(mode="after")
    def _has_a_use(self) -> Self:
        if self.ranker is not None and "best_of" not in self.methods:
            raise ValueError(f"scorer {self.scorer} ranks for best_of; name best_of in methods")
        return self

    @property
    def ranker(self) -> str | None:
        """The verifier that ranks in addition to the scorers that are always there; None: there is none."""
        return None if self.scorer in ("generator", "shortest", "random") else self.scorer

    @property
    def all_ks(self) -> tuple[int, ...]:
        """The values of k: those that are set, or powers of two and `samples` itself."""
        if self.ks:
            return self.ks
        powers = [2**n for n in range(self.samples.bit_length()) if 2**n < self.samples]
        return (*powers, self.samples)


class Evaluation(Section):
    split: Literal["validation", "test"] = "validation"
    """Held-out split on which accuracy is measured."""
    max_examples: Annotated[int, Field(ge=1)] | None = None
    """Held-out examples that are asked at most; null: all of the split."""
    baselines: tuple[Literal["few_shot_direct", "few_shot_cot"], ...] = ("few_shot_direct", "few_shot_cot")
    """How the base model is asked before the first iteration."""
    also: Annotated[tuple[str, ...], Field(max_length=8)] = ()
    """Other datasets, by id, on which every iteration is measured: forgetting, out of distribution."""
    without_thoughts: bool = False
    """Ask an adapter that thinks between tokens (Quiet-STaR) without its thoughts, too. Evaluations of such
    an adapter are made so; a job that trains one has no use for it.
    """
    test_time: TestTime | None = None
    """Many answers to each held-out question: pass@k, majority vote, best of k; null: one greedy answer."""
