"""From an empty folder to an answer of one's own adapter, as a person goes: by commands, and in a browser.

    python -m benchmarks.journeys [--write docs/benchmarks/journeys.md]

Each journey starts `star serve` in an empty folder with an empty HOME, brings a CSV of additions whose
columns are named otherwise, writes a prompt set, runs a job with the preset that is offered, downloads the
adapter and asks it. Counted are seconds, commands or clicks, and fields that are filled in, not the time that
a person reads. The target is ten minutes on two cores.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from playwright.sync_api import Page, sync_playwright

from benchmarks.measuring import machine, table
from examples.addition.generate import write_task

STAR = Path(sys.executable).with_name("star")
ROWS, HELD_OUT = 160, 80
TARGET_S = 600
MODEL = "addition-tiny"
GREETED_S = 180
PAGE_MS, WORK_MS = 30_000, 600_000  # what a page takes, and what work behind it takes
Role = Literal["link", "button"]


@dataclass
class Journey:
    """What a person did, step by step: name, seconds, and acts (commands, or clicks and fields)."""

    steps: list[tuple[str, float, int]] = field(default_factory=list)

    @contextmanager
    def step(self, name: str, hand: Hand | None = None) -> Iterator[None]:
        """One command, or with `hand` what it did on pages."""
        began = time.monotonic()
        yield
        self.steps.append((name, time.monotonic() - began, 1 if hand is None else hand.taken()))
        print(f"{name}: {self.steps[-1][1]:.1f} s", flush=True)

    @property
    def seconds(self) -> float:
        return sum(seconds for _, seconds, _ in self.steps)


@dataclass(frozen=True)
class Place:
    """A folder with a platform in it, started as a person starts it: at a terminal, with an empty HOME."""

    folder: Path
    url: str
    link: str  # signs a browser in

    def star(self, *words: object) -> str:
        """What a command prints. Raises where it fails."""
        done = subprocess.run(
            [STAR, *map(str, words)],
            cwd=self.folder,
            env=environment(self.folder),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"star {' '.join(map(str, words))}: {done.stderr or done.stdout}")
        return done.stdout

    def made(self, prefix: str, *words: object) -> str:
        """The id that a command prints, as a person copies it."""
        said = self.star(*words)
        found = re.search(rf"\b{prefix}_\w+", said)
        if found is None:
            raise RuntimeError(f"no {prefix}_... in: {said}")
        return found.group()


def environment(folder: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("STAR_")}
    return kept | {"HOME": str(folder / "home")}


@contextmanager
def platform(journey: Journey) -> Iterator[Place]:
    """`star serve` until the end of the journey."""
    with TemporaryDirectory() as folder:
        (Path(folder) / "home").mkdir()
        terminal, other = pty.openpty()
        with journey.step("`star serve` until it greets"):
            serving = subprocess.Popen(
                [STAR, "serve", "--port", "8765"],
                cwd=folder,
                env=environment(Path(folder)),
                stdout=other,
                stderr=other,
                stdin=subprocess.DEVNULL,
            )
            os.close(other)
            greeting = read_until(terminal, r"Stop\s", serving)
        link = re.search(r"https?://\S+/dashboard/sign-in\?\S+", greeting)
        assert link is not None, greeting
        try:
            yield Place(Path(folder), "http://127.0.0.1:8765", link.group())
        finally:
            serving.terminate()
            serving.wait(60)
            os.close(terminal)


def read_until(terminal: int, pattern: str, process: subprocess.Popen[bytes]) -> str:
    said, deadline = "", time.monotonic() + GREETED_S
    while not re.search(pattern, said):
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the platform did not greet (status {process.returncode}):\n{said}")
        if select.select([terminal], [], [], 1)[0]:
            with suppress(OSError):  # it has ended, and nobody else holds the terminal
                said += os.read(terminal, 4096).decode(errors="replace")
    return said


def own_data(folder: Path) -> tuple[Path, list[dict[str, str]]]:
    """A CSV whose columns are `sum` and `result`, and three worked examples for each digit count."""
    dataset, prompts = write_task(folder / "task", train=ROWS, validation=HELD_OUT)
    own = folder / "additions.csv"
    with own.open("w", newline="", encoding="utf-8") as file:
        written = csv.writer(file)
        written.writerow(["sum", "result", "digits"])
        for line in dataset.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            written.writerow([row["question"], row["answer"], row["group"]])
    return own, json.loads(prompts.read_text(encoding="utf-8"))["examples"]


def by_commands() -> Journey:
    journey = Journey()
    with platform(journey) as place:
        own, _ = own_data(place.folder)
        columns = [
            word for pair in ("question=sum", "answer=result", "group=digits") for word in ("--map", pair)
        ]
        with journey.step("`star datasets upload` of the CSV, its columns named"):
            upload = ("datasets", "upload", own, "--kind", "scratchpad", "--validation", HELD_OUT)
            dataset = place.made("ds", *upload, *columns)
        with journey.step("`star prompt-sets create` of the worked examples"):
            written = place.folder / "task" / "prompt_set.json"
            prompts = place.made("ps", "prompt-sets", "create", written, "--kind", "scratchpad")
        ids = ("--model", MODEL, "--dataset", dataset, "--prompt-set", prompts)
        with journey.step("`star jobs create --dry-run`"):
            place.star("jobs", "create", *ids, "--dry-run")
        with journey.step("`star jobs create --watch` until it has succeeded"):
            job = place.made("job", "jobs", "create", *ids, "--watch")
        with journey.step("`star jobs report`"):
            place.star("jobs", "report", job)
        with journey.step("`star adapters download`"):
            place.star("adapters", "download", f"{job}:best", "mine")
        with journey.step("`star adapters ask`"):
            place.star("adapters", "ask", f"{job}:best", "6 2 4 + 2 5 9")
    return journey


@dataclass
class Hand:
    """A person's hand on a page: clicks, fields that are filled in, and how many of both."""

    page: Page
    acts: int = 0

    def click(self, role: Role, name: str) -> None:
        self.acts += 1
        self.page.get_by_role(role, name=name).first.click()

    def fill(self, label: str, text: str) -> None:
        self.acts += 1
        self.page.get_by_label(label).first.fill(text)

    def choose(self, label: str, value: str) -> None:
        self.acts += 1
        self.page.get_by_label(label).first.select_option(value)
        self.page.wait_for_load_state("networkidle")

    def check(self, label: str) -> None:
        self.acts += 1
        self.page.get_by_label(label).check()

    def taken(self) -> int:
        """How many acts there were since the last time."""
        taken, self.acts = self.acts, 0
        return taken


def in_a_browser() -> Journey:
    journey = Journey()
    with platform(journey) as place, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(accept_downloads=True)
        page.set_default_timeout(PAGE_MS)
        hand = Hand(page)
        own, _ = own_data(place.folder)
        with journey.step("the link of the greeting signs in", hand):
            hand.acts += 1
            page.goto(place.link)
            page.wait_for_url("**/dashboard/**")
        with journey.step("a dataset of the CSV: columns and kind shown, held-out rows set", hand):
            hand.click("link", "Datasets")
            hand.click("link", "New dataset")
            hand.acts += 1
            page.get_by_label("Or choose a file").set_input_files(own)
            hand.click("button", "Look at it")
            hand.choose("Column “sum”", "question")
            hand.choose("Column “result”", "answer")
            hand.choose("Column “digits”", "group")
            hand.choose("Kind", "scratchpad")
            hand.fill("Hold out where no row says so", str(HELD_OUT))
            hand.click("button", "Save the dataset")
            page.get_by_role("heading", name="additions").wait_for()
        with journey.step("a prompt set, drafted by the base model and accepted", hand):
            hand.click("link", "Draft a prompt set")
            hand.click("button", "Draft them")
            page.get_by_role("heading", name="Accept drafted examples").wait_for(timeout=WORK_MS)
            for said in page.locator("#checks li", has_text="right").all_inner_texts():
                hand.check(said.partition(":")[0].replace("Example", "Accept example"))
            hand.click("button", "Save the prompt set")
            page.get_by_role("heading", name="New job").wait_for()
        with journey.step("the preflight: tries, rows, steps, time", hand):
            hand.click("button", "Preflight")
            page.get_by_role("heading", name="What the base model writes").wait_for(timeout=WORK_MS)
        with journey.step("the job, until it has succeeded", hand):
            hand.click("button", "Start the job as it is")
            page.wait_for_url("**/dashboard/jobs/job_*")
            page.locator("header.head .badge", has_text="succeeded").wait_for(timeout=WORK_MS)
        with journey.step("its adapter, downloaded", hand):
            hand.click("link", "Adapters")
            with page.expect_download() as download:
                hand.click("link", ".tar")
            download.value.save_as(place.folder / "mine.tar")
        with journey.step("a question, asked of it and of the base model", hand):
            page.get_by_role("table").get_by_role("link").first.click()
            hand.acts += 1
            hand.fill("Question", "6 2 4 + 2 5 9")
            hand.click("button", "Ask")
            page.locator("#answers pre").nth(1).wait_for(timeout=WORK_MS)
        browser.close()
    return journey


def page(found: Sequence[tuple[str, Journey]], command: str) -> str:
    lines = [f"`{command}`, {time.strftime('%Y-%m-%d')}:", "", *(f"- {line}" for line in machine()), ""]
    for name, journey in found:
        acts = sum(acts for _, _, acts in journey.steps)
        lines += [f"## {name}", ""]
        rows = [(step, f"{seconds:.1f}", acts) for step, seconds, acts in journey.steps]
        lines += [table(("step", "seconds", "commands or clicks and fields"), rows), ""]
        lines += [f"**{journey.seconds:.0f} s** of {TARGET_S}, {acts} commands or clicks and fields.", ""]
    return "\n".join(lines)


JOURNEYS: dict[str, Callable[[], Journey]] = {"By commands": by_commands, "In a browser": in_a_browser}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", choices=sorted(JOURNEYS), help="one of them")
    parser.add_argument("--write", type=Path)
    chosen = parser.parse_args()
    found = [(name, journey()) for name, journey in JOURNEYS.items() if chosen.only in (None, name)]
    text = page(found, "python -m benchmarks.journeys")
    print(text)
    if chosen.write is not None:
        chosen.write.write_text(f"# Journeys of a newcomer\n\n{text}", encoding="utf-8")


if __name__ == "__main__":
    main()
