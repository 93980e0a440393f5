"""What the guides in docs/ tell, done: with the SDK, on a job that has run; and their commands exist."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.main
from typer.core import TyperArgument, TyperGroup, TyperOption

from star_client.cli.main import app
from star_client.client import StarClient
from star_client.errors import Refused
from tests.star_client.conftest import Finished

ROOT = Path(__file__).parents[2]
GUIDES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def test_first_job(finished: Finished) -> None:
    star, job = finished.star, finished.star.jobs.get(finished.job_id)
    ids = {"model": job.model, "dataset": job.dataset, "prompt_set": job.prompt_set}
    planned = star.jobs.dry_run(**ids, config={"iterations": 2})  # type: ignore[arg-type]  # three of them are strings
    assert planned.preview[0]["prompt"]["text"]
    kinds = [event.type for event in star.jobs.events(job.id)]
    assert (kinds[0], kinds[-1]) == ("job.created", "job.succeeded")
    assert star.jobs.report(job.id).startswith("# STaR report")
    fork = star.jobs.fork(job.id, 1, config={"training": {"learning_rate": 0.0005}})
    assert star.jobs.pause(fork.id).status == "paused"
    assert star.jobs.resume(fork.id).status == "queued"
    assert star.jobs.cancel(fork.id, baselines=True).is_terminal


def test_own_data(star: StarClient, tmp_path: Path) -> None:
    table = tmp_path / "exam.csv.gz"
    lines = ["prompt,A,B,label", *(f"Which is {n}?,{n},{n + 1},a" for n in range(8))]
    table.write_bytes(gzip.compress("\n".join(lines).encode()))
    columns = {"question": "prompt", "choices": ["A", "B"], "answer": "label"}
    made = star.datasets.upload(table, kind="choice", map=columns, validation=2)
    assert (made.name, made.splits) == ("exam", {"train": 6, "validation": 2})
    assert star.datasets.upload(table, kind="choice", map=columns, validation=2).id == made.id
    assert [one.version for one in star.datasets.list(name="exam").data] == [1]
    assert star.datasets.statistics(made.id).statistics
    with pytest.raises(Refused) as refusal:
        star.datasets.upload(table, kind="choice")
    assert all(error.line and error.fix for error in refusal.value.errors)


def test_reading_rationales(finished: Finished, tmp_path: Path) -> None:
    star, job_id = finished.star, finished.job_id
    found = next(star.rationales.every(job_id, route="rationalized", decision="kept"))
    whole = star.rationales.get(job_id, found.id)
    assert whole.hint is not None
    assert whole.training_row is not None
    assert whole.hint not in whole.training_row["prompt"]
    assert whole.span is not None
    assert whole.text[slice(*whole.span)]
    assert found.id in [one.id for one in star.jobs.history(job_id, found.example.id)]
    star.rationales.override(job_id, found.id, verdict="wrong", reason="The right answer by a wrong step.")
    assert star.rationales.overrides(job_id, found.id)[-1].verdict == "wrong"
    assert not star.rationales.get(job_id, found.id).overridden  # what was decided stays: a fork honours it
    written = star.jobs.download_training_set(job_id, found.iteration, tmp_path / "set.jsonl")
    assert whole.training_row["completion"] in [
        json.loads(line)["completion"] for line in written.read_text().splitlines()
    ]


def test_serving_an_adapter(finished: Finished, tmp_path: Path) -> None:
    star = finished.star
    paths = star.adapters.download(f"{finished.job_id}:best", tmp_path / "my-adapter")
    files = json.loads((tmp_path / "my-adapter" / "manifest.json").read_text())["files"]
    assert files.keys() == {path.name for path in paths} - {"manifest.json"}
    for name, file in files.items():
        assert hashlib.sha256((tmp_path / "my-adapter" / name).read_bytes()).hexdigest() == file["sha256"]
    kept = star.jobs.retention(finished.job_id, keep_last=2)
    assert kept.retention is not None
    assert kept.retention["keep_last"] == 2


def commands() -> Iterator[tuple[str, str]]:
    """Each `star ...` in a guide's shell blocks, with the guide's name."""
    for guide in GUIDES:
        for block in re.findall(r"```sh\n(.*?)```", guide.read_text(), re.DOTALL):
            for line in block.replace("\\\n", " ").splitlines():
                if line.startswith("star "):
                    yield guide.name, line


def test_the_commands_of_the_guides_exist() -> None:
    found = list(commands())
    assert len(found) > 40
    wrong = [
        (guide, line, why) for guide, line in found if (why := mistake(shlex.split(line, comments=True)))
    ]
    assert wrong == []


def mistake(words: list[str]) -> str:
    """What `star` would say of these words; empty: nothing."""
    command, words = typer.main.get_command(app), [word for word in words[1:] if word != "&"]
    while isinstance(command, TyperGroup):
        first = words.pop(0)
        if first not in command.commands and command.name == "rationales":
            words, first = [first, *words], "list"
        if first not in command.commands:
            return f"no command {first}"
        command = command.commands[first]
    if command.context_settings.get("ignore_unknown_options"):
        return ""  # another program reads the rest
    places = [one.nargs for one in command.params if isinstance(one, TyperArgument)]
    options = {name: one for one in command.params if isinstance(one, TyperOption) for name in one.opts}
    needed = {name for name, one in options.items() if one.required}
    given = 0
    while words:
        word = words.pop(0)
        if word in options and not options[word].is_flag:
            words.pop(0)
        elif word.startswith("--") and word not in options:
            return f"no option {word}"
        needed.discard(word)
        given += not word.startswith("--")
    if needed:
        return f"needs {needed}"
    return "too many words" if -1 not in places and given > sum(places) else ""
