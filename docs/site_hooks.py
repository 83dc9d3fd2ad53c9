"""Hooks of MkDocs: pages that live outside docs/ are part of the site.

README, CONTRIBUTING, CHANGELOG and the benchmarks' README are written once, where a reader of the repository looks for
them. Here they become pages, and links between all pages are bent to where the pages are in the site. A link to a file
that is no page (a script, a licence) becomes the file's name: the site is read without the repository.
"""

from __future__ import annotations

import logging
import posixpath
import re
from pathlib import Path
from typing import Any

from jupyter_client.manager import KernelManager
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

log = logging.getLogger("mkdocs.hooks.site")
ROOT = Path(__file__).parents[1]
ELSEWHERE = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "benchmarks/README.md": "performance.md",
}
"""Pages outside docs/, by their path in the repository, and what they are called in the site."""
WIDE = {"parameters.md", "validation.md"}
"""Pages of wide tables: they get the room of the table of contents."""
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)#\s]*)(#[^)\s]*)?\)")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Take pages that do not exist yet out of the navigation, and a folder as the notebooks in it."""
    if hasattr(KernelManager, "transport_encryption"):  # otherwise each notebook's kernel warns of plain text
        KernelManager.transport_encryption.default_value = "auto"
    config.nav = [_existing(entry, Path(config.docs_dir)) for entry in config.nav or []]
    return config


def _existing(entry: Any, docs: Path) -> Any:
    if isinstance(entry, dict):
        return {title: _existing(inner, docs) for title, inner in entry.items()}
    if isinstance(entry, list):
        pages: list[Any] = []
        for inner in entry:
            if isinstance(inner, str) and inner.endswith("/"):
                pages += [f"{inner}{p.name}" for p in sorted((docs / inner).glob("*.ipynb"))]
            elif not isinstance(inner, str) or inner in ELSEWHERE.values() or (docs / inner).exists():
                pages.append(inner)
        return pages
    return entry


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that live outside docs/."""
    for source, page in ELSEWHERE.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / source)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Bend links from paths of the repository to paths of the site."""
    if page.file.src_uri in WIDE:
        page.meta["hide"] = ["toc"]
    homes = {page: source for source, page in ELSEWHERE.items()}
    here = posixpath.dirname(homes.get(page.file.src_uri, f"docs/{page.file.src_uri}"))

    def bend(link: re.Match[str]) -> str:
        image, text, target, anchor = link[1], link[2], link[3], link[4] or ""
        if not target or ":" in target:
            return link[0]
        path = posixpath.normpath(posixpath.join(here, target))
        there = ELSEWHERE.get(path, path.removeprefix("docs/"))
        page_there = files.get_file_from_path(there)
        if (page_there is None or page_there.inclusion.is_excluded()) and (ROOT / path).exists():
            return text
        return f"{image}[{text}]({posixpath.relpath(there, posixpath.dirname(page.file.src_uri) or '.')}{anchor})"

    return LINK.sub(bend, markdown)


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let links of notebooks, which come as HTML, lead to pages."""
    if not page.file.src_uri.endswith(".ipynb"):
        return html
    return re.sub(r'href="([^":]+)\.(?:md|ipynb)([#"])', r'href="\1.html\2', html)


def on_post_build(config: MkDocsConfig) -> None:
    """Warn of every link or picture of the built pages that leads nowhere: what comes as HTML nobody else checks."""
    site = Path(config.site_dir)
    for file in site.rglob("*.html"):
        for target in set(re.findall(r'(?:href|src)="([^"#?]+)', file.read_text(encoding="utf-8"))):
            local = not re.match(r"[a-z]+:|/|.*[${'\\]", target)
            if local and not (file.parent / target).exists():
                log.warning("%s: %s is not there", file.relative_to(site), target)
