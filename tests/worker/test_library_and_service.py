"""One job through `run_star` and through the service: both drive the same phases and record the same."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.database import reading
from app.ledger.data.examples import load_examples
from app.ledger.data.prompt_sets import as_prompt_set
from app.ledger.queue.steps import claim_step
from app.ledger.results.candidates import as_candidate
from app.ledger.results.counts import read_question_curves
from app.ledger.results.preference_pairs import recorded_pairs
from app.tables.candidates import Candidate
from app.tables.data import Example, PromptSet
from app.tables.jobs import Iteration
from app.tables.rationales import Adapter, Evaluation, Rationale, TrainingExample
from star_engine.adapters.layout import BaseModel
from star_engine.adapters.roles import AdapterRole
from star_engine.config.star import StarConfig
from star_engine.evaluation.accuracy import EvaluationMode
from star_engine.run import run_star
from star_engine.run_candidates import CandidateFiles
from star_engine.run_directory import RunDirectory
from star_engine.run_pairs import read_pairs
from star_engine.testing.fakes import RecordingTrainer, ScriptedSampler
from star_engine.training_set.rows import training_set_sha256
from tests.factories import CONFIG, MODEL, TRAIN, VALIDATION, World, make_world, pupil
from worker.shared_calls import work_on

SETTINGS: dict[str, Any] = {
    "seed": 3,
    "examples_per_iteration": 10,  # fewer than the split has: shares are of the iteration's examples
    "generation": {"max_tokens": 400, "temperature": 0.7, "samples_per_example": 2},
    "training_set": {"filters": ["answer_only"], "window": 2},
    "audits": {"faithfulness": 5},
    "evaluation": {"test_time": {"samples": 3, "scorer": "verifier"}},
    "trained_verifier": {"schedule": {"kind": "fixed", "steps": 3}, "batch_size": 4, "held_out": 0.2},
}
OF_THE_SERVICE = {"seconds", "reused"}  # metrics of claims and of the completion cache


@pytest.fixture
def ran(database_url: str, tmp_path: Path) -> tuple[World, str, RunDirectory]:
    world = make_world(database_url, tmp_path / "home", shard_examples=4)
    job_id = world.submit(**SETTINGS)
    worker = world.worker_context()
    try:
        while claim := claim_step(world.engine, worker.worker_id, 60):
            work_on(worker, claim)
    finally:
        worker.drop_gpu()
    assert world.job(job_id).status == "succeeded", world.job(job_id).status_reason
    with reading(world.engine) as session:
        prompt_set = as_prompt_set(session.get_one(PromptSet, world.prompt_set_id))
        train = [e for _, e in load_examples(session, world.dataset_id, "train", range(TRAIN))]
        held_out = [e for _, e in load_examples(session, world.dataset_id, "validation", range(VALIDATION))]
    script = pupil()
    events = run_star(
        StarConfig.model_validate({**CONFIG, **SETTINGS}),
        train,
        held_out,
        prompt_set,
        ScriptedSampler(script),
        RecordingTrainer(script),
        tmp_path / "run",
        base=BaseModel(MODEL),
    )
    assert list(events)[-1].name == "stopped"
    return world, job_id, RunDirectory(tmp_path / "run")


def test_library_and_service_record_the_same_tries_and_decisions(
    ran: tuple[World, str, RunDirectory],
) -> None:
    world, job_id, directory = ran
    with reading(world.engine) as session:
        for iteration in _iterations(session, job_id)[1:]:
            rows = session.execute(
                select(Rationale, Example.external_id)
                .join(Example, Example.id == Rationale.example_id)
                .where(Rationale.iteration_id == iteration.id)
            )
            service = {
                (name, row.route, row.sample): (row.text, row.verdict, row.extracted, row.reason)
                for row, name in rows
            }
            reasons = {one.key: one.reason for one in directory.decisions(iteration.number)}
            library = {
                (one.key.example_id, one.key.route, one.key.sample): (
                    one.text,
                    one.verdict,
                    one.extracted,
                    reasons[one.key],
                )
                for one in directory.rationales(iteration.number)
            }
            assert service == library != {}


def test_library_and_service_train_on_the_same_rows(ran: tuple[World, str, RunDirectory]) -> None:
    world, job_id, directory = ran
    with reading(world.engine) as session:
        for iteration in _iterations(session, job_id)[1:]:
            rows = session.scalars(
                select(TrainingExample)
                .where(TrainingExample.iteration_id == iteration.id)
                .order_by(TrainingExample.position)
            )
            trained = directory.training_set(iteration.number)
            assert [(row.prompt, row.completion) for row in rows] == [
                (row.prompt, row.completion) for row in trained
            ]
            assert iteration.training_set_sha256 == training_set_sha256(trained)


def test_library_and_service_measure_the_same(ran: tuple[World, str, RunDirectory]) -> None:
    world, job_id, directory = ran
    library = directory.metrics()
    with reading(world.engine) as session:
        iterations = _iterations(session, job_id)
        assert [one.number for one in iterations] == list(library) == [0, 1, 2]
        for iteration in iterations:
            known = library[iteration.number]
            assert iteration.phases_done == known.pop("phases_done")
            for verified in ("verification", "verifier_verification"):
                known.pop(verified, None)  # the service keeps it with the adapter
            known.pop("training_set_sha256", None)  # and this in a column
            metrics = {key: value for key, value in iteration.metrics.items() if key not in OF_THE_SERVICE}
            expected = {key: one for key, one in known.items() if one not in (None, {})}
            assert _comparable(metrics) == _comparable(expected)


def test_library_and_service_publish_the_same_card_and_manifest(
    ran: tuple[World, str, RunDirectory],
) -> None:
    world, job_id, directory = ran
    storage = world.worker_context().storage
    with reading(world.engine) as session:
        adapters = session.scalars(select(Adapter).where(Adapter.job_id == job_id)).all()
    assert sorted((one.iteration_number, one.role) for one in adapters) == [
        (1, AdapterRole.GENERATOR),
        (2, AdapterRole.GENERATOR),
        (2, AdapterRole.VERIFIER),
    ]
    for adapter in adapters:
        folder = directory.adapter(adapter.iteration_number, adapter.role)
        files = {
            entry["path"]: b"".join(storage.open_range(entry["sha256"], 0, entry["size_bytes"]))
            for entry in adapter.files
        }
        example = (folder / "prompt_example.txt").read_text()
        assert files["prompt_example.txt"].decode() == example
        assert example in files["README.md"].decode()
        card = files["README.md"].decode()
        assert card == (folder / "README.md").read_text()
        last = adapter.iteration_number == 2 and adapter.role is AdapterRole.GENERATOR
        assert ("| pass@1 |" in card) is last  # which alone was asked many times
        service, library = (
            json.loads(text) for text in (files["manifest.json"], (folder / "manifest.json").read_text())
        )
        for manifest in (service, library):
            assert set(manifest.pop("files")) == {
                "README.md",
                "adapter_config.json",
                "adapter_model.safetensors",
                "prompt_example.txt",
            }
            for ours in ("job", "dataset", "prompt_set"):  # ids that only a service has
                manifest.pop(ours)
        assert _comparable(service) == _comparable(library)


def test_library_and_service_record_the_same_answers(ran: tuple[World, str, RunDirectory]) -> None:
    world, job_id, directory = ran
    with reading(world.engine) as session:
        for iteration in _iterations(session, job_id):
            modes = [EvaluationMode.ADAPTER] if iteration.number else list(EvaluationMode)[:2]
            for mode in modes:
                rows = session.execute(
                    select(Example.external_id, Evaluation.text, Evaluation.verdict)
                    .join(Example, Example.id == Evaluation.example_id)
                    .where(Evaluation.iteration_id == iteration.id, Evaluation.mode == mode.value)
                )
                answers = directory.answers(iteration.number, mode)
                library = sorted((one.example_id, one.text, one.verdict) for one in answers)
                assert sorted(tuple(row) for row in rows) == library != []


def test_library_and_service_record_the_same_candidates_and_curves(
    ran: tuple[World, str, RunDirectory],
) -> None:
    world, job_id, directory = ran
    with reading(world.engine) as session:
        for iteration in _iterations(session, job_id):
            rows = session.execute(
                select(Candidate, Example.external_id)
                .join(Example, Example.id == Candidate.example_id)
                .where(Candidate.iteration_id == iteration.id)
            )
            files = CandidateFiles(directory, iteration.number)
            library = {one.key: replace(one, request_sha256=None, reused=False) for one in files.candidates()}
            service = {}
            for row, name in rows:
                one = as_candidate(row, name)
                service[one.key] = replace(one, request_sha256=None, reused=False)
            assert {key.sample for key in service} == (set() if iteration.number == 1 else {0, 1, 2})
            assert service == library
            assert read_question_curves(session, iteration.id) == files.question_curves()


def test_library_and_service_learn_the_same_pairs(ran: tuple[World, str, RunDirectory]) -> None:
    world, job_id, directory = ran
    with reading(world.engine) as session:
        last = _iterations(session, job_id)[-1]
        assert recorded_pairs(session, last.id) == read_pairs(directory, 2) != []


def _iterations(session: Session, job_id: str) -> list[Iteration]:
    query = select(Iteration).where(Iteration.job_id == job_id).order_by(Iteration.number)
    return list(session.scalars(query))


def _comparable(facts: dict[str, Any]) -> dict[str, Any]:
    """Without the clock, and without how many tries were generated twice: some of the first slice."""
    found = json.loads(json.dumps(facts))
    for training in ("training", "verifier_training"):
        found.get(training, {}).pop("seconds", None)
    if "determinism" in found.get("audits", {}):
        found["audits"]["determinism"] = found["audits"]["determinism"]["grade"]
    return dict(found)
