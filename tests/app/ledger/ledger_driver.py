"""Does steps by recording their effects straight into the ledger, without any GPU."""

from __future__ import annotations

from app.database import reading, transaction
from app.ledger.data.examples import load_examples
from app.ledger.queue.steps import Claim, check_fence, claim_step, finish_step
from app.ledger.queue.waves import asked_positions, record_outcomes
from app.ledger.results.adapters import find_adapter, record_adapter, record_verification
from app.ledger.results.diagnostics import record_control
from app.ledger.results.evaluations import record_evaluations
from app.ledger.results.rationales import (
    claimed_iteration,
    iteration_tries,
    record_rationales,
    record_training_set,
)
from app.ledger.transitions import lock_job
from star_engine.data.adaptive import Outcome
from star_engine.evaluation.accuracy import EvaluatedAnswer, EvaluationMode
from star_engine.sampling.rationales import Rationale, RationaleKey, Route
from star_engine.training_set.rows import Decision, TrainingExample, training_set_sha256
from tests.factories import World


def claim(world: World, worker: str = "worker:1", lease: float = 60) -> Claim:
    """The next step; there must be one."""
    found = claim_step(world.engine, worker, lease)
    assert found is not None
    return found


def do_step(world: World, held: Claim) -> None:
    """Record what the phase records, then finish it."""
    EFFECTS[held.phase](world, held)
    with transaction(world.engine) as session:
        finish_step(session, held, world.settings)


def finish_phase(world: World, phase: str) -> None:
    """Do every step up to the end of this phase."""
    while (held := claim(world)).phase != phase:
        do_step(world, held)
    do_step(world, held)
    while world.job(held.job_id).phase == phase:
        do_step(world, claim(world))


def finish_job(world: World) -> None:
    while (held := claim_step(world.engine, "worker:1", 60)) is not None:
        do_step(world, held)


def control(world: World, held: Claim) -> None:
    """Two questions are tried at each temperature; the lowest is taken."""
    controller = held.config.controller
    assert controller is not None
    with transaction(world.engine) as session:
        asked = asked_positions(session, held.job_id, held.dataset_id, held.config, held.iteration)
        examples = load_examples(session, held.dataset_id, "train", sorted(asked)[:2])
        row_ids = {example.id: row_id for row_id, example in examples}
        numbers = range(len(controller.temperatures) * held.config.generation.samples_per_example)
        tries = [a_try(name, Route.PROBE, "correct", number) for name in row_ids for number in numbers]
        record_rationales(session, held, tries, row_ids, None)
    with transaction(world.engine) as session:
        found = {"temperature": controller.temperatures[0], "score": 1.0, "grid": []}
        record_control(session, held, found)


def sample(world: World, held: Claim) -> None:
    """Even positions are right at once, odd ones after rationalization."""
    with transaction(world.engine) as session:
        asked = asked_positions(session, held.job_id, held.dataset_id, held.config, held.iteration)
        positions = sorted(asked[held.work["start"] : held.work["stop"]])
        examples = load_examples(session, held.dataset_id, "train", positions)
        row_ids = {example.id: row_id for row_id, example in examples}
        tries = []
        numbers = range(held.config.generation.samples_per_example)
        for position, (_, example) in zip(positions, examples, strict=True):
            verdict = "wrong" if position % 2 else "correct"
            tries += [a_try(example.id, Route.GENERATED, verdict, number) for number in numbers]
            if position % 2:
                tries.append(a_try(example.id, Route.RATIONALIZED, "correct"))
        record_rationales(session, held, tries, row_ids, None)
        if held.config.records_selection:
            count = len(numbers)
            right, rescued = Outcome(count, count, 0, 0, count), Outcome(count, 0, 1, 1, 1)
            found = {position: rescued if position % 2 else right for position in positions}
            lock_job(session, held.job_id)
            check_fence(session, held)
            record_outcomes(claimed_iteration(session, held), found)


def a_try(example_id: str, route: Route, verdict: str, sample: int = 0) -> Rationale:
    return Rationale(
        key=RationaleKey(example_id, route, sample),
        text=f"because {route}",
        verdict=verdict,
        extracted="1",
        rule="test",
        prompt_tokens=10,
        tokens=5,
        finish_reason="stop",
    )


def build(world: World, held: Claim) -> None:
    with reading(world.engine) as session:
        tries = list(iteration_tries(session, held))
    row_ids = {item.key: row_id for row_id, item in tries}
    right = {item.key for _, item in tries if item.verdict == "correct"}
    decisions = [
        Decision(item.key, item.key in right, "kept" if item.key in right else item.verdict)
        for _, item in tries
    ]
    rows = [TrainingExample(item.key, "question", item.text) for _, item in tries if item.key in right]
    with transaction(world.engine) as session:
        record_training_set(session, held, row_ids, decisions, rows, training_set_sha256(rows), None)


def train(world: World, held: Claim) -> None:
    path = world.settings.home / f"weights-{held.job_id}-{held.iteration}"
    path.write_text(f"weights of {held.job_id} {held.iteration}")
    sha = world.worker_context().storage.put_file(path)
    files = [{"path": "adapter_model.safetensors", "size_bytes": path.stat().st_size, "sha256": sha}]
    with transaction(world.engine) as session:
        record_adapter(session, held, files, {"steps": 3})


def verify_adapter(world: World, held: Claim) -> None:
    with reading(world.engine) as session:
        adapter = find_adapter(session, held.job_id, held.iteration)
    assert adapter is not None
    with transaction(world.engine) as session:
        record_verification(session, held, adapter.files, {"loads": True})


def evaluate(world: World, held: Claim) -> None:
    """Iteration n answers the first n + 1 of this shard's examples rightly."""
    positions = range(held.work["start"], held.work["stop"])
    mode = EvaluationMode(held.work["mode"])
    with transaction(world.engine) as session:
        examples = load_examples(session, held.dataset_id, "validation", list(positions))
        answers = [
            EvaluatedAnswer(
                example_id=example.id,
                group=example.group,
                text="because",
                verdict="correct" if number <= held.iteration else "wrong",
                extracted="1",
                rule="test",
                prompt_tokens=1,
                tokens=1,
                finish_reason="stop",
            )
            for number, (_, example) in enumerate(examples)
        ]
        record_evaluations(session, held, mode, answers, {example.id: row for row, example in examples})


EFFECTS = {
    "baselines": evaluate,
    "control": control,
    "sample": sample,
    "build": build,
    "train": train,
    "verify_adapter": verify_adapter,
    "evaluate": evaluate,
}
