"""What every page has to be: accessible, whole on a phone, light to load."""

from __future__ import annotations

from tests.browser.accessibility import violations
from tests.browser.conftest import Visit

HEAVIEST = 150_000  # bytes of a page with all that it loads, compressed, in an empty cache
CUT = """[...document.querySelectorAll(".scroll:has(> table)")]
    .filter(one => one.scrollWidth > one.clientWidth + 1).map(one => one.outerHTML.slice(0, 200))"""


def is_whole(visit: Visit, path: str) -> None:
    """Open a page at the widths of a desk and of a phone, and assert all of it but what it logs."""
    page, loaded = visit.page, []
    visit.problems.clear()
    page.set_viewport_size({"width": 1280, "height": 800})
    network = page.context.new_cdp_session(page)
    network.send("Network.enable")
    network.send("Network.setCacheDisabled", {"cacheDisabled": True})
    network.on("Network.loadingFinished", lambda event: loaded.append(event["encodedDataLength"]))
    visit.open(path)
    page.wait_for_load_state("load")
    assert violations(page) == []
    assert 0 < sum(loaded) < HEAVIEST, sum(loaded)
    network.detach()
    page.set_viewport_size({"width": 390, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390, "a phone has to scroll sideways"
    assert page.evaluate(CUT) == [], "a table is cut on a phone"
    assert violations(page) == []
