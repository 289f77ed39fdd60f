"""Every link within the manual leads to something that is there."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.manual.pages import ROOT, name_of, pages

LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#{1,6}\s+(.+?)\s*#*$", re.MULTILINE)
ALL = [*pages(), *sorted((ROOT / "docs" / "decisions").glob("*.md")), ROOT / "CHANGELOG.md"]


def text_of(page: Path) -> str:
    """A page without its blocks of code."""
    return re.sub(
        r"^ *```.*?^ *```\s*$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE
    )


def anchors_of(page: Path) -> set[str]:
    """What a link can name in a page, as code hosts make it from headings."""
    found = set()
    for heading in HEADING.findall(text_of(page)):
        plain = re.sub(r"[`*]|\[([^\]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
        found.add(re.sub(r"[^\w\- ]", "", plain).replace(" ", "-"))
    return found


@pytest.mark.parametrize("page", ALL, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    """To a file of the repository, and where they name one, to a heading in it."""
    broken = []
    for link in LINK.findall(text_of(page)):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = unquote(link).partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors_of(target)):
            broken.append(link)
    assert broken == []


def test_every_page_can_be_found() -> None:
    """From the README, by links, or from the manual's own index."""
    reached, left = set(), [ROOT / "README.md"]
    while left:
        page = left.pop()
        if page in reached or page.suffix != ".md" or not page.is_file():
            continue
        reached.add(page)
        left += [
            (page.parent / unquote(link).partition("#")[0]).resolve()
            for link in LINK.findall(text_of(page))
            if not re.match(r"[a-z]+:", link)
        ]
    assert [name_of(page) for page in pages() if page not in reached] == []
