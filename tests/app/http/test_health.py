"""Liveness: answered by any process that lives, however busy it is."""

from __future__ import annotations

from threading import Event, Thread

from anyio import to_thread

from tests.app.api_harness import Api


def test_a_process_whose_threads_are_all_busy_still_says_that_it_lives(sqlite_api: Api) -> None:
    """A probe that waits for a thread has a working process killed."""
    portal = sqlite_api.client.portal
    assert portal is not None
    go_on, answered = Event(), Event()

    def held() -> bool:
        return go_on.wait()

    limiter = portal.call(to_thread.current_default_thread_limiter)
    busy = [portal.start_task_soon(to_thread.run_sync, held) for _ in range(int(limiter.total_tokens))]

    def ask() -> None:
        assert sqlite_api.client.get("/healthz").status_code == 200
        answered.set()

    asking = Thread(target=ask)
    asking.start()
    try:
        assert answered.wait(60)
    finally:
        go_on.set()
        asking.join()
        for one in busy:
            one.result()
