"""`make screenshots`: pictures of every page for docs/screenshots, of the jobs that `make demo` has run.

python -m tests.browser.screenshots [--home .star/demo] [--out docs/screenshots]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from playwright.sync_api import Page, ViewportSize, sync_playwright

from examples.addition.demo import platform
from examples.platform import ROOT
from star_client.client import StarClient
from tests.browser.conftest import ARGUMENTS, chromium_path

PAGES = {
    "jobs": "jobs",
    "new-job": "jobs/new",
    "job": "jobs/{job}",
    "rationale": "jobs/{job}/rationales?rationale={rationale}&route=rationalized",
    "example": "jobs/{job}/examples/{example}",
    "adapters": "jobs/{job}/adapters",
    "adapter": "adapters/{adapter}",
    "compare": "compare?job={job}&job={other}",
    "dataset": "datasets/{dataset}",
    "prompt-set": "prompt-sets/{prompt_set}",
    "platform": "platform",
}
SIZE = ViewportSize(width=1280, height=900)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--home", type=Path, default=ROOT / ".star" / "demo")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "screenshots")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    with platform(arguments.home) as url, sync_playwright() as playwright:
        key = (arguments.home / "api-key").read_text().strip()
        ids = ids_of(url, key)
        browser = playwright.chromium.launch(executable_path=chromium_path(), args=ARGUMENTS)
        for scheme in ("light", "dark"):
            context = browser.new_context(viewport=SIZE, color_scheme=scheme, reduced_motion="reduce")
            page = context.new_page()
            sign_in(page, url, key)
            for name, path in PAGES.items():
                page.goto(f"{url}/dashboard/{path.format(**ids)}", wait_until="load")
                page.screenshot(path=arguments.out / f"{name}-{scheme}.png")
        browser.close()


def sign_in(page: Page, url: str, key: str) -> None:
    page.goto(f"{url}/dashboard/sign-in")
    page.get_by_label("API key").fill(key)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/dashboard/jobs")


def ids_of(url: str, key: str) -> dict[str, str]:
    """What PAGES names: of the newest job with rationalization, and of one without."""
    with StarClient(url, key) as star:
        done = star.jobs.list(status=["succeeded"], limit=100).data
        looped = [job for job in done if job.config["training_set"]["source"] == "rationales"]
        jobs = {job.config["rationalization"]["enabled"]: job for job in reversed(looped)}
        if jobs.keys() != {True, False}:
            sys.exit("There are no two finished jobs to picture: run `make demo` first.")
        job = jobs[True]
        rationale = next(star.rationales.every(job.id, route="rationalized", decision="kept"))
        return {
            "job": job.id,
            "other": jobs[False].id,
            "rationale": rationale.id,
            "example": rationale.example.id,
            "adapter": star.adapters.list(job.id)[-1].id,
            "dataset": job.dataset,
            "prompt_set": job.prompt_set,
        }


if __name__ == "__main__":
    main()
