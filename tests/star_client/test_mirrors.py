"""Runs are copied to real trackers and told to a real mail server, once, whatever is started again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from email import message_from_bytes
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from star_client.client import StarClient
from star_client.errors import StarError
from star_client.mirrors.follow import Mirror, State
from star_client.mirrors.points import points_of, settings_of
from star_client.mirrors.trackers import run_name, tracker_named
from tests.platforms import wait_until
from tests.star_client.conftest import Finished, Run
from tests.star_client.test_serve import free_port


def test_figures_of_every_iteration_and_every_step(finished: Finished) -> None:
    star, job = finished.star, finished.star.jobs.get(finished.job_id)
    first, second, third = star.jobs.iterations(job.id)
    [baselines] = points_of(star, job, first, 0)
    assert baselines.values.keys() >= {"baseline/few_shot_cot", "baseline/few_shot_direct"}
    *losses, whole = points_of(star, job, second, 0)
    assert [point.at for point in losses] == [step.step for step in star.jobs.curve(job.id, 1).steps]
    assert whole.values["accuracy"] == second.metrics.accuracy
    assert whole.values["kept/rationalized"] == second.metrics.kept["rationalized"]
    later = [point.at for point in points_of(star, job, third, len(losses)) if point.axis == "optimizer_step"]
    assert min(later) > len(losses) - 1
    assert settings_of(job)["training.lora.rank"] == job.config["training"]["lora"]["rank"]


def test_tensorboard_reads_what_was_written(finished: Finished, run: Run, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    job = finished.star.jobs.get(finished.job_id)
    arguments = ("mirror", "--to", f"tensorboard:{tmp_path}/runs", "--once", "--past")
    for _ in range(2):  # the second time there is nothing new
        assert run(finished.server, *arguments, "--state", tmp_path / "state.json").status == 0
    [events] = (tmp_path / "runs" / run_name(job)).iterdir()
    read = EventAccumulator(str(events.parent))
    read.Reload()
    tags = {tag for kind in ("scalars", "tensors") for tag in read.Tags()[kind]}
    assert tags >= {"accuracy", "solve_rate", "train/loss", "kept/generated"}
    found = [event.step for event in read.Tensors("accuracy")]
    assert found == [0, 1, 2], "0: the better few-shot baseline"


def test_mlflow_has_one_run_with_settings_figures_and_its_end(finished: Finished, tmp_path: Path) -> None:
    from mlflow import MlflowClient

    where = f"sqlite:///{tmp_path}/mlflow.db"
    client = MlflowClient(tracking_uri=where)
    job = finished.star.jobs.get(finished.job_id)
    mirrored(finished.star, tmp_path, f"mlflow:{where}")
    (tmp_path / "state.json").unlink()  # lost: the run is found again by the job's id
    mirrored(finished.star, tmp_path, f"mlflow:{where}")
    experiment = client.get_experiment_by_name("star")
    assert experiment is not None
    [one] = client.search_runs([experiment.experiment_id], f"tags.star_job = '{job.id}'")
    assert one.info.status == "FINISHED"
    assert one.data.params["training.lora.rank"] == str(job.config["training"]["lora"]["rank"])
    history = client.get_metric_history(one.info.run_id, "accuracy")
    assert {metric.step for metric in history} == {0, 1, 2}


def test_wandb_keeps_a_run_offline(
    finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    monkeypatch.setenv("WANDB_SILENT", "true")
    mirrored(finished.star, tmp_path, "wandb:team/star")
    [written] = tmp_path.glob(f"wandb/offline-run-*/run-{finished.job_id}.wandb")

    def whole() -> bool:  # a process of W&B's own writes it
        return all(name in written.read_bytes() for name in (b"train/loss", b"kept/rationalized"))

    wait_until(whole, "W&B's process to write the run")


def test_trackio_keeps_a_run(finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import trackio.sqlite_storage
    import trackio.utils

    monkeypatch.setattr(trackio.sqlite_storage, "TRACKIO_DIR", tmp_path / "trackio")
    monkeypatch.setattr(trackio.utils, "TRACKIO_DIR", tmp_path / "trackio")
    job = finished.star.jobs.get(finished.job_id)
    mirrored(finished.star, tmp_path, "trackio:star")
    logs = trackio.sqlite_storage.SQLiteStorage.get_logs("star", run_name(job))
    assert [one["accuracy"] for one in logs if one.get("iteration") == 1]
    assert any("train/loss" in one for one in logs)


class Failing:
    name = "failing"

    def __init__(self) -> None:
        self.sent: list[tuple[str, list[Any]]] = []
        self.broken = True

    def send(self, job: Any, points: Any) -> None:
        if self.broken:
            raise ConnectionError("away")
        self.sent.append((job.id, list(points)))


def test_a_tracker_that_fails_is_said_once_holds_up_no_other_and_gets_all_of_it_later(
    finished: Finished, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    failing, steady = Failing(), Failing()
    failing.name, steady.name, steady.broken = "failing", "steady", False
    mirror = Mirror(finished.star, [failing, steady], [], State(tmp_path / "state.json", past=True))
    assert mirror.turn() == mirror.turn() >= 1
    jobs = len(steady.sent)
    assert capsys.readouterr().err.count("failing fails and is tried again") == 1
    failing.broken = False
    assert mirror.turn() == 0
    assert failing.sent == steady.sent
    assert len(failing.sent) == jobs


def test_jobs_that_had_ended_before_are_left_out_unless_asked_for(finished: Finished, tmp_path: Path) -> None:
    steady = Failing()
    steady.broken = False
    Mirror(finished.star, [steady], [], State(tmp_path / "state.json")).turn()
    assert steady.sent == []


class Inbox:
    def __init__(self) -> None:
        self.letters: list[str] = []

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - its name
        whole = message_from_bytes(envelope.content if isinstance(envelope.content, bytes) else b"")
        parts = [part.get_payload(decode=True) for part in whole.walk() if not part.is_multipart()]
        texts = [part.decode() for part in parts if isinstance(part, bytes)]
        self.letters.append("\n".join([str(whole["Subject"]), *texts]))
        return "250 OK"


@pytest.fixture
def mail() -> Iterator[tuple[Inbox, int]]:
    inbox = Inbox()
    server = Controller(inbox, hostname="127.0.0.1", port=free_port())
    server.start()
    yield inbox, server.port
    server.stop()


def test_a_job_that_ended_is_mailed_once(
    finished: Finished, run: Run, tmp_path: Path, mail: tuple[Inbox, int]
) -> None:
    inbox, port = mail
    address = f"mailto://127.0.0.1:{port}?from=star@example.org&to=team@example.org&mode=insecure"
    for _ in range(2):
        sent = run(
            finished.server, "mirror", "--notify", address, "--once", "--past", "--state", tmp_path / "s.json"
        )
        assert sent.status == 0, sent.err
    about = [letter for letter in inbox.letters if finished.job_id in letter]
    assert len(about) == 1
    job = finished.star.jobs.get(finished.job_id)
    assert f"{job.name}: succeeded" in about[0]
    assert "Best held-out accuracy" in about[0]


def test_what_is_named_wrongly_is_refused_with_what_there_is(finished: Finished, run: Run) -> None:
    with pytest.raises(StarError, match="tensorboard:"):
        tracker_named("clearml:x")
    assert "Name a tracker" in run(finished.server, "mirror", "--once").err
    refused = run(finished.server, "mirror", "--once", "--notify", "nothing")
    assert "apprise does not know" in refused.err


def mirrored(star: StarClient, folder: Path, name: str) -> None:
    assert Mirror(star, [tracker_named(name)], [], State(folder / "state.json", past=True)).turn() == 0
    written = json.loads((folder / "state.json").read_text())
    assert written["places"][name]
