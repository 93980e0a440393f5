"""STaR (Zelikman et al. 2022, Algorithm 1) on one page, on the parts that run_star is made of.

run_star does the same and records every text, resumes after a crash, audits its data and checks its adapters.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from star_engine import Example, PromptSet, StarConfig
from star_engine.data.selection import select_train, steps_in, training_seed
from star_engine.evaluation.accuracy import EvaluationMode, evaluate, summarise
from star_engine.protocols import Sampler, Trainer, TrainingJob, TrainingText
from star_engine.sampling.rationales import Rationale, sample_rationales, solved_examples
from star_engine.training_set.rows import TrainingExample, audit_hints, build, decide


def star(
    config: StarConfig,
    train: Sequence[Example],
    held_out: Sequence[Example],
    prompt_set: PromptSet,
    sampler: Sampler,
    trainer: Trainer,
    folder: Path,
) -> Iterator[tuple[list[Rationale], tuple[TrainingExample, ...], float]]:
    """Yield the tries, the training set and the held-out accuracy of every iteration."""
    adapter = None  # M_0 is the original model M
    for n in range(1, config.iterations + 1):
        sampler.use(adapter)
        examples = [train[position] for position in select_train(config, len(train), n)]

        # Lines 3 and 4: generate a rationale and an answer for every question; where the answer is wrong,
        # rationalize: show the right one as a hint and try again.
        tries = list(sample_rationales(sampler, config, prompt_set, examples, n, recorded={}))

        # Lines 5 and 6: filter; only rationales that lead to the right answer are kept.
        decisions = decide(config, prompt_set, examples, tries)

        # Strip the hint: every prompt is rendered again without it, and proven not to depend on the answer.
        rows = build(config, prompt_set, examples, tries, decisions)
        audit_hints(config, prompt_set, examples, tries, rows)

        # Line 7: fine-tune the original model M, not M_(n-1), on all that was kept.
        adapter = folder / f"adapter-{n}"
        trainer_job = TrainingJob(
            tuple(TrainingText(row.prompt, row.completion, end=prompt_set.end) for row in rows),
            config.training,
            steps_in(config.training.schedule, n, rows=len(rows), batch_size=config.training.batch_size),
            training_seed(config.seed, n),
            out=adapter,
            checkpoints=folder / f"checkpoints-{n}",
            start=None,
        )
        for progress in trainer.train(trainer_job):
            print(f"iteration {n}: step {progress.step} of {progress.steps}, loss {progress.loss:.3f}")

        sampler.use(adapter)
        answers = evaluate(sampler, config, prompt_set, held_out, EvaluationMode.ADAPTER, n, done=frozenset())
        accuracy = summarise(answers).accuracy
        print(f"iteration {n}: {len(solved_examples(tries))} of {len(examples)} solved, {accuracy:.1%} right")
        yield tries, rows, accuracy  # line 2: repeat
