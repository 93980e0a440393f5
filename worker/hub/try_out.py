"""Whether a base model runs here, and whether it knows enough of a task to learn from itself."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.settings import Settings
from star_engine.config.star import StarConfig
from star_engine.diagnostics.spark import Answered, chance_level, spark_facts
from star_engine.evaluation.accuracy import EvaluationMode, evaluate, summarise
from star_engine.protocols import OutOfMemory, SampleRequest, SamplingParams
from star_engine.tasks.examples import Example, PromptSet
from worker.gpu.process import GpuDied, GpuFailed, GpuProcess, GpuSpec
from worker.hub.model_files import Unusable

SHOWN = 3  # answers


@dataclass(frozen=True, slots=True)
class Checked:
    """What a few questions say of a base model."""

    right: int
    asked: int
    chance: float
    p_value: float
    diagnosis: str | None  # None: there is something to start from
    shown: tuple[Answered, ...]  # some of the answers that are not right


def try_one_token(folder: Path, settings: Settings) -> None:
    """Load the model as a worker with these settings would, and let it write. Raises Unusable."""
    with _gpu(folder, settings) as gpu:
        list(
            gpu.stream(
                deque([SampleRequest("try", "The capital of France is")]), SamplingParams(max_tokens=1)
            )
        )


def check(
    folder: Path, settings: Settings, config: StarConfig, prompt_set: PromptSet, examples: list[Example]
) -> Checked:
    """Ask each example once, greedily, behind the few-shot rationales, and test it against guessing."""
    mode = EvaluationMode.FEW_SHOT_COT
    with _gpu(folder, settings) as gpu:
        answers = list(evaluate(gpu, config, prompt_set, examples, mode, 0, done=frozenset()))
    overall = summarise(answers).overall
    by_id = {example.id: example for example in examples}
    failed = tuple(
        Answered(by_id[one.example_id].question, by_id[one.example_id].answer, one.text, one.verdict)
        for one in answers
        if one.verdict != "correct"
    )[:SHOWN]
    tally = {"correct": overall.correct, "wrong": overall.wrong, "n": overall.n}
    facts: dict[str, Any] = spark_facts(mode, tally, chance_level(config.kind, examples), config, failed)
    spark = facts["spark"]
    return Checked(
        spark["correct"], spark["n"], spark["chance"], spark["p_value"], facts.get("diagnosis"), failed
    )


@contextmanager
def _gpu(folder: Path, settings: Settings) -> Iterator[GpuProcess]:
    log = settings.home.absolute() / "logs" / "model-check.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    options = dict(settings.sampler_options)
    if settings.sampler == "scripted":
        options["script"] = settings.sampler_script
    spec = GpuSpec(
        base_model=folder.absolute(),
        sampler=settings.sampler,
        device=settings.device,
        threads=settings.threads,
        sampler_batch=settings.sampler_batch,
        options=options,
    )
    gpu = GpuProcess(spec, log)
    try:
        yield gpu
        gpu.close()
    except (ValueError, OutOfMemory, GpuFailed, GpuDied) as problem:
        raise Unusable(f"The model does not run here: {problem} The whole story is in {log}.") from problem
    finally:
        gpu.kill()
