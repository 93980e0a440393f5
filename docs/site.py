"""What MkDocs calls while it builds the site: notebooks, links that leave it, llms.txt for agents."""

from __future__ import annotations

import json
import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.nav import Section
from mkdocs.structure.pages import Page

LINK = re.compile(r"\[([^\]]*)\]\((?!https?:|#|mailto:)([^)\s#]*)(#[^)]*)?\)")
ROOT = Path(__file__).parents[1]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """A notebook is a page, too: its texts and its code, with a link to the file."""
    for file in [file for file in files if file.src_uri.endswith(".ipynb")]:
        cells = json.loads(file.content_string)["cells"]
        shown = [_cell(cell["cell_type"], "".join(cell["source"])) for cell in cells]
        name = posixpath.basename(file.src_uri)
        shown.insert(1, f"[The notebook as a file]({name})")
        page = file.src_uri.replace(".ipynb", ".md")
        files.append(File.generated(config, page, content="\n\n".join(shown)))
    return files


def _cell(kind: str, source: str) -> str:
    return source if kind == "markdown" else f"```python\n{source}\n```"


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links to what the site does not hold, as a script of the checkout, become its path."""
    folder = posixpath.dirname(page.file.src_uri)

    def shown(link: re.Match[str]) -> str:
        text, target, _ = link.groups()
        place = posixpath.normpath(posixpath.join("docs", folder, target))
        inside = place.removeprefix("docs/")
        if place.startswith("docs/") and (files.get_file_from_path(inside) or not (ROOT / place).exists()):
            return link[0]  # what leads nowhere is for MkDocs to report
        if not (ROOT / place).exists():
            raise FileNotFoundError(f"{page.file.src_uri}: a link to {target}, which does not exist")
        return f"`{place}`" if text.strip("`") == place else f"{text} (`{place}`)"

    return LINK.sub(shown, markdown)


def on_nav(nav: Any, config: MkDocsConfig, files: Files) -> Any:
    """Remember the pages, in the order of the navigation."""
    config.extra["pages"] = nav
    return nav


def on_post_build(config: MkDocsConfig) -> None:
    """Write llms.txt, an index of the pages, and llms-full.txt, their texts (https://llmstxt.org)."""
    nav, site = config.extra["pages"], Path(config.site_dir)
    index, texts = [f"# {config.site_name}", f"> {config.site_description}"], []
    for item in nav.items:
        if isinstance(item, Section):
            index.append(f"## {item.title}")
        for page in item.children if isinstance(item, Section) else [item]:
            if not isinstance(page, Page):
                continue
            index.append(f"- [{page.title}]({page.url or './'})")
            if page.file.src_uri.endswith(".md"):
                texts.append((page.file.content_string or "").strip())
    (site / "llms.txt").write_text("\n".join(index) + "\n", encoding="utf-8")
    (site / "llms-full.txt").write_text("\n\n".join(texts) + "\n", encoding="utf-8")
