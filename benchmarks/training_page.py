"""docs/benchmarks/training.md: what is measured by a command is written by it, the rest is kept."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks" / "training.md"


def write_section(title: str, section: str, device: str, options: str, text: str) -> None:
    """Replace what stands between this section's marks, or add it at the end. `options`: of its command."""
    command = f"python -m benchmarks.training --section {section}{options}"
    begin, end = f"<!-- {section} on {device} -->", f"<!-- end of {section} on {device} -->"
    where = "" if device == "cpu" else f", on {device}"
    written = f"{begin}\n\n## {title}{where}\n\n```sh\n{command}\n```\n\n{text}\n\n{end}\n"
    page = PAGE.read_text() if PAGE.exists() else "# Training\n"
    pattern = re.compile(f"{re.escape(begin)}.*{re.escape(end)}\n", re.DOTALL)
    known = pattern.search(page)
    PAGE.write_text(pattern.sub(lambda _: written, page) if known else f"{page.rstrip()}\n\n{written}")
