"""axe-core on a page: what breaks WCAG 2.2 AA."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Page

AXE = Path(__file__).with_name("axe-4.14.1.min.js")
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
RUN = """rules => axe.run(document, {runOnly: rules}).then(found => found.violations.map(
    one => `${one.id}: ${one.help}: ${one.nodes.map(node => node.html).join(" | ")}`))"""


def violations(page: Page) -> list[str]:
    """One line each, with the elements at fault."""
    page.evaluate(AXE.read_text())  # through the debugger: the page's own policy lets no script in
    return list(page.evaluate(RUN, RULES))
