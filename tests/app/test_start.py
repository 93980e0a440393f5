from __future__ import annotations

import gc

from tests.app.api_harness import Api

LOADED = 50_000  # objects of modules, routes and models, at the very least


def test_garbage_collector_does_not_walk_what_the_application_has_loaded(sqlite_api: Api) -> None:
    assert sqlite_api.client.get("/healthz").status_code == 200
    assert gc.get_freeze_count() > LOADED
