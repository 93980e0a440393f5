"""Nothing is lost and nothing is doubled while the embedded platform and its parts end again and again.

STAR_SOAK_FAULTS, STAR_SOAK_PACE, STAR_SOAK_SECONDS and STAR_SOAK_SEED as for tests/faults/test_soak.py.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.databases import migrate
from tests.faults.checker import check
from tests.faults.conftest import quick_world
from tests.faults.embedded_soak import EmbeddedSoak
from tests.faults.test_soak import FAULTS, MAX_SECONDS, PACE, SEED, SHORT


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_nothing_is_lost_or_doubled_while_the_embedded_platform_breaks(tmp_path: Path) -> None:
    print(f"STAR_SOAK_SEED={SEED} STAR_SOAK_FAULTS={FAULTS} STAR_SOAK_PACE={PACE}")  # noqa: T201
    home = tmp_path / "home"
    home.mkdir()
    database_url = f"sqlite:///{home / 'star.db'}"
    migrate(database_url)
    soak = EmbeddedSoak(quick_world(database_url, home, **SHORT), SEED, PACE)
    try:
        seconds = soak.run(FAULTS, MAX_SECONDS)
        soak.settle()
        check(soak.world, platform=soak.running)
        assert soak.count_jobs() == len(soak.jobs) - len(soak.deleted), "a job was made twice, or is gone"
    finally:
        soak.close()
    assert not soak.running.alive(), "no process is left behind"
    print(f"{soak.done.total()} faults in {seconds:.0f} s: {dict(soak.done)}")  # noqa: T201
    print(f"{len(soak.jobs)} jobs, {len(soak.deleted)} deleted; started {soak.starts} times")  # noqa: T201
