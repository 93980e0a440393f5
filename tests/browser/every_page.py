"""`make pages`: every page of the dashboard at 1280 and 390 px, light and dark, to be looked at.

    python -m tests.browser.every_page [--out .star/pages] [--only job --only dataset-new]

The pages are those of a platform with a scripted model that this command starts and fills: states of jobs,
refused forms, errors and empty lists included. What is kept are the pictures: {page}-{width}-{scheme}.png.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from playwright.sync_api import Browser, Page, expect, sync_playwright
from sqlalchemy import text

from examples.platform import ROOT
from tests import databases
from tests.browser.conftest import ARGUMENTS, Visit, chromium_path, visiting
from tests.browser.furnished import HOOKS, PAGES, STATES, furnish, other_states
from tests.browser.test_own_data import pasted
from tests.star_client.recorded_platform import Platform, platform

WIDTHS = (1280, 390)
SCHEMES = ("light", "dark")
PATIENCE = 120_000.0  # ms for one picture, on a machine that does other things too
EMPTY = (  # lists of a project that has nothing yet
    "jobs", "jobs/new", "compare", "adapters", "datasets", "prompt-sets", "prompt-sets/drafts/new", "search",
    "verifiers", "platform", "platform/usage", "platform/webhooks",
)  # fmt: skip


@dataclass
class Gallery:
    """Where pictures go, and which are asked for."""

    out: Path
    only: tuple[str, ...] = ()
    go_on: bool = False  # without those that an earlier run has taken
    taken: list[str] = field(default_factory=list)

    def wants(self, name: str) -> bool:
        if self.go_on and self.file(name, WIDTHS[-1], SCHEMES[-1]).exists():
            return False
        return not self.only or any(name.startswith(one) for one in self.only)

    def file(self, name: str, width: int, scheme: str) -> Path:
        return self.out / f"{name}-{width}-{scheme}.png"

    def take(self, name: str, page: Page) -> None:
        """The page as it stands, whole, in every width and scheme."""
        page.wait_for_function("!document.body.innerText.includes('Counting …')")  # results come later
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900 if width > 600 else 844})
            page.evaluate("if (window.showTabs) showTabs(document)")
            for scheme in SCHEMES:
                page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]
                page.evaluate("document.dispatchEvent(new Event('star:theme'))")  # charts are drawn again
                page.screenshot(path=self.file(name, width, scheme), full_page=True, timeout=PATIENCE)
        page.set_viewport_size({"width": 1280, "height": 900})
        self.taken.append(name)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=ROOT / ".star" / "pages")
    parser.add_argument("--only", action="append", default=[], help="pages whose name begins so")
    parser.add_argument("--go-on", action="store_true", help="leave out what --out holds already")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    gallery = Gallery(arguments.out, tuple(arguments.only), arguments.go_on)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path(), args=ARGUMENTS)
        for site in (take_empty, take_furnished):
            with tempfile.TemporaryDirectory() as folder:
                site(gallery, browser, Path(folder))
        browser.close()
    each = len(WIDTHS) * len(SCHEMES)
    sys.stdout.write(f"{len(gallery.taken)} pages, {each} pictures each: {arguments.out}\n")


@contextmanager
def running(folder: Path) -> Iterator[Platform]:
    url = f"sqlite:///{folder / 'star.db'}"
    databases.migrate(url)
    with platform(url, folder, webhook_allowed_hosts=[HOOKS]) as server:
        yield server


@contextmanager
def looking(browser: Browser, server: Platform, key: str | None = None) -> Iterator[Visit]:
    """Signed in; what is logged does not matter here, as refused forms are pages too."""
    with visiting(browser, server, key) as visit:
        visit.page.context.set_default_timeout(PATIENCE)
        yield visit
        visit.problems.clear()


def take_empty(gallery: Gallery, browser: Browser, folder: Path) -> None:
    wanted = {f"empty-{path.replace('/', '-')}": path for path in EMPTY}
    wanted = {name: path for name, path in wanted.items() if gallery.wants(name)}
    if not wanted:
        return
    with running(folder) as server, looking(browser, server) as visit:
        for name, path in wanted.items():
            visit.open(path)
            gallery.take(name, visit.page)


def take_furnished(gallery: Gallery, browser: Browser, folder: Path) -> None:
    with running(folder) as server:
        ids = furnish(server, folder)
        ids |= {f"job_{state}": job for state, job in other_states(server, folder).items()}
        states = {f"job-{state}": f"jobs/{{job_{state}}}" for state in (*STATES, "waiting")}
        with looking(browser, server) as visit:
            for name, path in (PAGES | states | {"answers-waiting": "jobs/{job_waiting}/answers"}).items():
                if gallery.wants(name):
                    visit.open(path.format(**ids))
                    gallery.take(name, visit.page)
            for name, scene in SCENES.items():
                if gallery.wants(name):
                    scene(visit, ids)
                    gallery.take(name, visit.page)
        take_others(gallery, browser, server, ids)


def take_others(gallery: Gallery, browser: Browser, server: Platform, ids: Mapping[str, str]) -> None:
    """What people see who may only read, who have no key, or who come when something is broken."""
    with looking(browser, server, server.reader_key) as reader:
        for name, path in {
            "reader-jobs": "jobs", "reader-job": "jobs/{job}", "reader-datasets": "datasets",
            "reader-prompt-sets": "prompt-sets", "reader-platform": "platform", "forbidden": "platform/keys",
        }.items():  # fmt: skip
            if gallery.wants(name):
                reader.open(path.format(**ids))
                gallery.take(name, reader.page)
    with server.client() as star:
        shared = star.shares.create(ids["job"], note="Ann").url
    stranger = browser.new_page()
    stranger.set_default_timeout(PATIENCE)
    for name, address in {
        "sign-in-first": f"{server.url}/dashboard/datasets",
        "report-shared": shared,
        "report-nowhere": f"{server.url}/shared/shr_0/none",
        "reference": f"{server.url}/docs",
    }.items():
        if gallery.wants(name):
            stranger.goto(str(address), wait_until="networkidle")
            gallery.take(name, stranger)
    if gallery.wants("sign-in-refused"):
        stranger.goto(f"{server.url}/dashboard/sign-in")
        stranger.get_by_label("API key").fill("star_wrong")
        stranger.get_by_role("button", name="Sign in").click()
        stranger.get_by_role("alert").wait_for()
        gallery.take("sign-in-refused", stranger)
    stranger.close()
    if gallery.wants("broken"):
        with looking(browser, server) as visit:
            with server.engine.begin() as connection:
                connection.execute(text("ALTER TABLE webhooks RENAME TO gone"))
            visit.open("platform/webhooks")
            gallery.take("broken", visit.page)


def job_refused(visit: Visit, ids: Mapping[str, str]) -> None:
    job_filled(visit, ids)
    visit.page.get_by_label("Iterations").first.fill("none")
    visit.page.get_by_role("button", name="Start the job").click()
    visit.page.get_by_role("alert").first.wait_for()


def job_filled(visit: Visit, ids: Mapping[str, str]) -> None:
    visit.open(f"jobs/new?dataset={ids['dataset']}&prompt_set={ids['prompt_set']}")
    visit.page.get_by_label("Tokens per rationale at most").fill("100")
    visit.page.get_by_label("Iterations").first.fill("1")


def job_tried(visit: Visit, ids: Mapping[str, str]) -> None:
    job_filled(visit, ids)
    visit.page.get_by_role("button", name="Try it out").click()
    visit.page.get_by_role("heading", name="It would run").wait_for()


def job_probed(visit: Visit, ids: Mapping[str, str]) -> None:
    job_filled(visit, ids)
    with visit.server.attending():
        visit.page.get_by_role("button", name="Preflight").click()
        expect(visit.page.get_by_text("Rows of an iteration")).to_be_visible(timeout=120_000)


def rows_looked_at(visit: Visit, _ids: Mapping[str, str]) -> None:
    page = visit.page
    visit.open("datasets/new")
    page.get_by_label("Paste rows").fill(pasted())
    page.get_by_label("Name", exact=True).fill("my sums")
    page.get_by_role("button", name="Look at it").click()
    page.get_by_label("Column “Solution value”").select_option("answer")
    expect(page.get_by_text("2 of the rows are wrong.")).to_be_visible()


def rows_corrected(visit: Visit, ids: Mapping[str, str]) -> None:
    rows_looked_at(visit, ids)
    page = visit.page
    page.get_by_label("Answer of row 32").fill("1 8")
    page.get_by_label("Leave row 33 out").check()
    expect(page.get_by_text("Every row was read and its answer verified.")).to_be_visible()


def nothing_pasted(visit: Visit, _ids: Mapping[str, str]) -> None:
    visit.open("datasets/new")
    visit.page.get_by_role("button", name="Look at it").click()
    visit.page.get_by_text("There is nothing yet.").first.wait_for()


def prompt_checked(visit: Visit, ids: Mapping[str, str]) -> None:
    visit.open(f"prompt-sets/drafts/{ids['draft']}")
    page = visit.page
    page.get_by_label("Answer", exact=True).first.fill("9 9 9")
    expect(page.locator("#checks")).to_contain_text("Does not lead to its own answer")


def key_made(visit: Visit, _ids: Mapping[str, str]) -> None:
    visit.open("platform/keys")
    visit.page.get_by_label("Name").fill("notebook")
    visit.page.get_by_role("button", name="Make a key").click()
    visit.page.locator(".copy").first.wait_for()


def link_made(visit: Visit, ids: Mapping[str, str]) -> None:
    visit.open(f"jobs/{ids['job']}/share")
    visit.page.get_by_label("For whom").fill("Ann")
    visit.page.get_by_role("button", name="Make a link").click()
    visit.page.get_by_text("The link is made.").wait_for()


def text_judged(visit: Visit, _ids: Mapping[str, str]) -> None:
    visit.open("verifiers")
    page = visit.page
    page.get_by_label("Kind").select_option("numeric")
    page.get_by_label("Completion").fill("Two pens and five pens are seven pens. The answer is 7.")
    page.get_by_label("Gold answer").fill("7")
    page.get_by_role("button", name="Judge").click()
    page.locator("#judgement .badge").first.wait_for()


def override_open(visit: Visit, ids: Mapping[str, str]) -> None:
    visit.open(f"jobs/{ids['job']}/rationales/{ids['rationale']}")
    visit.page.get_by_text("Overrule the verdict").click()


def prompt_previewed(visit: Visit, ids: Mapping[str, str]) -> None:
    visit.open(f"prompt-sets/{ids['prompt_set']}")
    visit.page.get_by_role("button", name="Preview").click()
    visit.page.locator("#preview pre").first.wait_for()


Scene = Callable[[Visit, Mapping[str, str]], None]
SCENES: dict[str, Scene] = {  # pages that are reached by doing something
    "new-job-refused": job_refused,
    "new-job-tried": job_tried,
    "new-job-probed": job_probed,
    "dataset-new-nothing": nothing_pasted,
    "dataset-new-wrong-rows": rows_looked_at,
    "dataset-new-corrected": rows_corrected,
    "prompt-draft-checked": prompt_checked,
    "prompt-set-previewed": prompt_previewed,
    "rationale-override": override_open,
    "keys-made": key_made,
    "share-made": link_made,
    "verifiers-run": text_judged,
}


if __name__ == "__main__":
    main()
