"""Server time and weight of the dashboard's pages, where a job has 10^4 and 10^6 rationales.

    python -m benchmarks.dashboard [--rows 10000 1000000] [--database postgresql]

writes docs/benchmarks/dashboard.md. Pages are asked for over HTTP, one after another, signed in by cookie;
scripts and styles count once each, compressed, as a browser with an empty cache loads them.
"""

from __future__ import annotations

import argparse
import re
import time
from pathlib import Path

from sqlalchemy import func, select

from app.dashboard.session import PATH
from app.database import reading
from app.http.admission import COOKIE
from app.tables.data import Example
from app.tables.rationales import Rationale
from benchmarks.http_api import ServedApi, database_version, percentile, served
from benchmarks.ledger_world import new_world
from benchmarks.many_rows import settle
from benchmarks.measuring import machine, table
from benchmarks.pages import add_rationales
from tests.factories import World

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks" / "dashboard.md"
CALLS = 30  # per page and size
HEAVIEST = 150_000  # bytes, compressed
PAGES = {
    "jobs": "jobs",
    "new job": "jobs/new",
    "a job": "jobs/{job}",
    "its charts": "jobs/{job}/results",
    "its rationales": "jobs/{job}/rationales",
    "... of one reason in 10,000": "jobs/{job}/rationales?reason=too_long",
    "... with a text, of 1 in 100": "jobs/{job}/rationales?text=carry+77,",
    "one rationale": "jobs/{job}/rationales?rationale={rationale}",
    "an example over the iterations": "jobs/{job}/examples/{example}",
    "its adapters": "jobs/{job}/adapters",
    "two jobs compared": "compare?job={job}&job={other}",
    "a dataset": "datasets/{dataset}",
    "a prompt set": "prompt-sets/{prompt_set}",
    "platform": "platform",
    "usage": "platform/usage",
    "keys": "platform/keys",
    "audit log": "platform/audit",
}
STATIC = re.compile(rf'(?:src|href)="({PATH}/static/[^"]+)"')


def measured(world: World, rows: int) -> dict[str, tuple[list[float], int]]:
    """Milliseconds, and bytes with all that the page loads, by name of the page."""
    job, other = world.submit(), world.submit()
    add_rationales(world, other, rows // 10)
    add_rationales(world, job, rows)
    settle(world.engine)
    with reading(world.engine) as session:
        newest = session.scalar(select(func.max(Rationale.id)).where(Rationale.job_id == job))
        example = session.scalars(select(Example.external_id).where(Example.split == "train").limit(1)).one()
    ids = {"job": job, "other": other, "rationale": f"rat_{newest}", "example": example}
    ids |= {"dataset": world.dataset_id, "prompt_set": world.prompt_set_id}
    with served(world) as api:
        api.client.cookies.set(COOKIE, api.key, path=PATH)
        return {name: asked(api, f"{PATH}/{path.format(**ids)}") for name, path in PAGES.items()}


def asked(api: ServedApi, path: str) -> tuple[list[float], int]:
    found = []
    for _ in range(CALLS + 1):  # the first one warms up
        began = time.perf_counter()
        answer = api.client.get(path)
        found.append(1000 * (time.perf_counter() - began))
        assert answer.status_code == 200, (path, answer.text[:2000])
    loaded = sum(weight(api, url) for url in {path, *STATIC.findall(answer.text)})
    return found[1:], loaded


def weight(api: ServedApi, path: str) -> int:
    """Bytes of the body as it is sent."""
    with api.client.stream("GET", path, headers={"Accept-Encoding": "gzip"}) as answer:
        return sum(len(chunk) for chunk in answer.iter_raw())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 1_000_000])
    parser.add_argument("--database", choices=("postgresql", "sqlite"), default="postgresql")
    parser.add_argument("--to", type=Path, default=PAGE)
    chosen = parser.parse_args()
    options = f"--rows {' '.join(map(str, chosen.rows))} --database {chosen.database}"
    found = {}
    for rows in chosen.rows:
        with new_world(chosen.database) as world:
            server = database_version(world.engine)
            found[rows] = measured(world, rows)
    lines = []
    for name in PAGES:
        sizes = [one[name][1] for one in found.values()]
        cells = [
            f"{percentile(t, 0.5):.0f} / {percentile(t, 0.99):.0f}"
            for t, _ in (f[name] for f in found.values())
        ]
        lines.append([name, *cells, f"{max(sizes) / 1000:.0f} kB"])
        assert max(sizes) < HEAVIEST, (name, sizes)
    head = ["page", *(f"ms at {rows:,} rationales" for rows in found), "weight"]
    parts = ["# Dashboard", f"```sh\npython -m benchmarks.dashboard {options}\n```", INTRODUCTION]
    parts += [f"{server}; " + "\n".join(machine("fastapi", "uvicorn", "jinja2")), table(head, lines)]
    chosen.to.write_text("\n\n".join(parts) + "\n")


INTRODUCTION = f"""Milliseconds until a page is there, median / slowest of {CALLS}, over HTTP from one client
to one API process on the same machine. Weight is all that a browser with an empty cache loads for it,
compressed; the goal is less than {HEAVIEST // 1000} kB. Charts and live parts come after the page."""


if __name__ == "__main__":
    main()
